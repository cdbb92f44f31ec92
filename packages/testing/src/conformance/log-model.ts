import {
  categoryOf,
  RevisionConflictError,
  type EventReader,
  type EventStore,
  type ExpectedRevision,
  type ReadAllOptions,
  type ReadStreamOptions,
  type RecordedEvent,
  type StreamAppend,
} from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { assertWholeLog, logOf, newEvent, outcome } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';

/** An append as the model knows it. */
type Attempt = readonly {
  readonly stream: string;
  readonly types: readonly string[];
  readonly expected: ExpectedRevision | undefined;
}[];

const STREAMS = ['a-1', 'a-2', 'b-1', 'b'];
const TYPES = ['Made', 'Changed', 'Gone'];

/** Random appends and reads, compared with an array. */
export function describeLogModel(harness: StoreHarness<EventStore>): void {
  describe('the log, compared with an array', () => {
    const stores = useStores(harness);
    const maxStreams = harness.lacks?.multiStreamAppend === undefined ? 3 : 1;

    it('accepts, refuses and repeats the same appends', async () => {
      const attempts = fc.array(fc.tuple(attempt(maxStreams), fc.boolean()), { maxLength: 15 });
      await fc.assert(
        fc.asyncProperty(attempts, async (all) => {
          const store = await stores.open();
          const model = new LogModel();
          for (const [one, repeated] of all) await appendToBoth(store, model, one, repeated);
          assert.deepEqual(
            (await logOf(store)).map(({ id, stream, revision }) => ({ id, stream, revision })),
            model.events,
          );
          assertWholeLog(await logOf(store));
          await store.close();
        }),
        { numRuns: 25 },
      );
    });

    it('reads the same from the log, in every range, direction, filter and batch', async () => {
      const store = await stores.open();
      const log = await someLog(store);
      const head = log.at(-1)?.position ?? assert.fail();
      await fc.assert(
        fc.asyncProperty(readAllOptions(head + 3), async (options) => {
          const matching = log.filter((event) => inRange(event.position, options) && matches(event, options));
          await sameBatches(store.readAll(options), matching, {
            ...options,
            end: Math.min(options.to ?? head, head),
            numberOf: ({ position }) => position,
          });
        }),
        { numRuns: 150 },
      );
    });

    it('reads the same from a stream, in every range, direction and batch', async () => {
      const store = await stores.open();
      const log = await someLog(store);
      const stream = log.filter((event) => event.stream === STREAMS[0]);
      const last = stream.length - 1;
      await fc.assert(
        fc.asyncProperty(readStreamOptions(last + 3), async ({ from = 0, ...options }) => {
          const after = from - 1;
          const matching = stream.filter((event) => inRange(event.revision, { ...options, after }));
          await sameBatches(store.readStream(STREAMS[0] ?? '', { ...options, from }), matching, {
            ...options,
            after,
            end: Math.min(options.to ?? last, last),
            numberOf: ({ revision }) => revision,
          });
        }),
        { numRuns: 150 },
      );
    });
  });
}

/** What the log must be: an array of what was appended. */
class LogModel {
  readonly events: { readonly id: string; readonly stream: string; readonly revision: number }[] = [];

  revision(stream: string): number {
    return this.events.filter((event) => event.stream === stream).length - 1;
  }

  /** The first append that conflicts, with the revision that its stream is at. */
  conflict(appends: readonly StreamAppend[]): { stream: string; actual: number } | undefined {
    for (const { stream, events, expected = 'any' } of appends) {
      const actual = this.revision(stream);
      if (events.length === 0 || expected === 'any') continue;
      if (expected === 'no-stream' ? actual === -1 : expected === 'stream-exists' ? actual >= 0 : false)
        continue;
      if (expected !== actual) return { stream, actual };
    }
    return undefined;
  }

  append(appends: readonly StreamAppend[]): void {
    for (const { stream, events } of appends) {
      for (const { id = '' } of events) this.events.push({ id, stream, revision: this.revision(stream) + 1 });
    }
  }
}

async function appendToBoth(
  store: EventStore,
  model: LogModel,
  attempt: Attempt,
  repeated: boolean,
): Promise<void> {
  const appends = attempt.map(({ types, ...rest }) => ({
    ...rest,
    events: types.map((type) => newEvent({ type })),
  }));
  const conflict = model.conflict(appends);
  if (conflict) {
    const error = await outcome(() => store.appendAll(appends));
    assert.instanceOf(error, RevisionConflictError);
    assert.include(error, conflict);
    return;
  }
  model.append(appends);
  const results = await store.appendAll(appends);
  assert.deepEqual(
    results.map(({ stream, revision }) => ({ stream, revision })),
    appends.map(({ stream }) => ({ stream, revision: model.revision(stream) })),
  );
  if (repeated) {
    const written = results.filter((_, index) => appends[index]?.events.length);
    const again = await store.appendAll(appends);
    assert.deepEqual(
      again.filter((_, index) => appends[index]?.events.length),
      written,
    );
  }
}

/** A log in which streams and types alternate irregularly. */
async function someLog(store: EventStore): Promise<RecordedEvent[]> {
  for (let round = 0; round < 40; round++) {
    const stream = STREAMS[(round * round) % STREAMS.length] ?? '';
    const count = 1 + (round % 3);
    await store.append(
      stream,
      Array.from({ length: count }, (_, index) => newEvent({ type: TYPES[(round + index * 2) % 3] })),
    );
  }
  return logOf(store);
}

interface Comparison {
  readonly after?: number;
  readonly direction?: 'forward' | 'backward';
  readonly limit?: number;
  readonly batchSize?: number;
  /** The highest number that the read can reach. */
  readonly end: number;
  readonly numberOf: (event: RecordedEvent) => number;
}

/** That a read returns just these events, by batches of the size asked for, each complete up to where it says it is. */
async function sameBatches(
  reader: EventReader,
  matching: readonly RecordedEvent[],
  { after = 0, direction = 'forward', limit = Infinity, batchSize = 1000, end, numberOf }: Comparison,
): Promise<void> {
  const forward = direction === 'forward';
  const expected = forward ? matching : matching.toReversed();
  const got: RecordedEvent[] = [];
  let through = forward ? after : end + 1;
  for await (const batch of reader.batches()) {
    assert.isAtMost(batch.events.length, batchSize);
    if (forward) assert.isAbove(batch.through, through, 'through moves on');
    else assert.isBelow(batch.through, through, 'through moves back');
    through = batch.through;
    got.push(...batch.events);
    const complete = expected.filter((event) =>
      forward ? numberOf(event) <= through : numberOf(event) >= through,
    );
    assert.deepEqual(got, complete.slice(0, limit), `complete through ${through}`);
  }
  assert.deepEqual(got, expected.slice(0, limit));
  if (forward && got.length < limit && after < end) assert.equal(through, end, 'through reaches the end');
}

function inRange(number: number, { after = 0, to = Infinity }: ReadAllOptions): boolean {
  return number > after && number <= to;
}

function matches({ type, stream }: RecordedEvent, { filter }: ReadAllOptions): boolean {
  return (
    (filter?.types?.includes(type) ?? true) && (filter?.categories?.includes(categoryOf(stream)) ?? true)
  );
}

function attempt(maxStreams: number): fc.Arbitrary<Attempt> {
  const expected = fc.option(
    fc.oneof(
      fc.constantFrom<ExpectedRevision>('any', 'no-stream', 'stream-exists'),
      fc.integer({ min: 0, max: 6 }),
    ),
    { nil: undefined },
  );
  const one = fc.record({
    stream: fc.constantFrom(...STREAMS),
    types: fc.array(fc.constantFrom(...TYPES), { maxLength: 4 }),
    expected,
  });
  return fc.uniqueArray(one, { minLength: 1, maxLength: maxStreams, selector: ({ stream }) => stream });
}

function optional<Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> {
  return fc.option(value, { nil: undefined });
}

function readAllOptions(highest: number): fc.Arbitrary<ReadAllOptions> {
  const number = fc.integer({ min: 0, max: highest });
  return fc.record({
    after: optional(number),
    to: optional(number),
    direction: optional(fc.constantFrom('forward', 'backward')),
    limit: optional(number),
    batchSize: optional(fc.integer({ min: 1, max: 12 })),
    filter: optional(
      fc.record({
        types: optional(fc.uniqueArray(fc.constantFrom(...TYPES, 'Never'))),
        categories: optional(fc.uniqueArray(fc.constantFrom('a', 'b', 'c'))),
      }),
    ),
  });
}

function readStreamOptions(highest: number): fc.Arbitrary<ReadStreamOptions> {
  const number = fc.integer({ min: 0, max: highest });
  return fc.record({
    from: optional(number),
    to: optional(number),
    direction: optional(fc.constantFrom('forward', 'backward')),
    limit: optional(number),
    batchSize: optional(fc.integer({ min: 1, max: 12 })),
  });
}
