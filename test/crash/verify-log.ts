import { isDeepStrictEqual } from 'node:util';
import type { AppendResult, EventStore, NewEvent, RecordedEvent, StreamAppend } from '@refold/core';
import type { Intent } from './journal.js';

/** What a look at the log found. */
export interface LogFindings {
  readonly events: readonly RecordedEvent[];
  readonly problems: readonly string[];
  readonly acknowledged: number;
  readonly refused: number;
  /** Appends whose caller was killed before it was told: those that are in the log, and those that are not. */
  readonly landed: readonly string[];
  readonly vanished: readonly string[];
  /** The position of the last event that was appended with inline projections in its transaction. */
  readonly lastInline: number;
}

/** How many of the newest acknowledged appends are repeated. */
const REPEATS = 20;

/**
 * Holds the log against what its writers were about to append and what they were told: nothing acknowledged is missing or
 * elsewhere, nothing is there in part, nothing twice, nothing that nobody appended, and no event has moved since an
 * earlier look, whose ids `before` has in order.
 */
export async function verifyLog(
  store: EventStore,
  intents: ReadonlyMap<string, Intent>,
  before: readonly string[],
): Promise<LogFindings> {
  const events = await store.readAll().toArray();
  const problems = [...brokenOrder(events), ...(await brokenStreams(store, events))];
  before.forEach((id, index) => {
    if (events[index]?.id !== id)
      problems.push(`event ${id} was at position ${index + 1} and is there no more`);
  });
  const byId = new Map(events.map((event) => [event.id, event]));
  const findings = {
    acknowledged: 0,
    refused: 0,
    landed: [] as string[],
    vanished: [] as string[],
    lastInline: 0,
  };
  let accounted = 0;
  for (const intent of intents.values()) {
    const look = lookFor(intent, byId);
    accounted += look.found;
    if (intent.inline && !intent.repeated) {
      findings.lastInline = Math.max(findings.lastInline, look.last);
    }
    problems.push(...look.problems.map((problem) => `append ${intent.intent}: ${problem}`));
    if (intent.outcomes.length === 0) findings[look.found > 0 ? 'landed' : 'vanished'].push(intent.intent);
    else findings[intent.outcomes.some(({ results }) => results) ? 'acknowledged' : 'refused'] += 1;
  }
  if (accounted !== events.length) {
    problems.push(
      `${events.length} events are in the log, ${accounted} of them by the appends of the journals`,
    );
  }
  return { events, problems, ...findings };
}

/** Repeats the newest acknowledged appends: each must return what it did, and nothing may be written. */
export async function verifyRepeats(
  store: EventStore,
  intents: ReadonlyMap<string, Intent>,
): Promise<string[]> {
  const problems: string[] = [];
  const head = await store.head();
  const done = [...intents.values()].filter(({ outcomes }) => outcomes[0]?.results).slice(-REPEATS);
  for (const { intent, appends, outcomes } of done) {
    const again = await store.appendAll(appends);
    if (isDeepStrictEqual(again, outcomes[0]?.results)) continue;
    problems.push(`append ${intent} returned ${JSON.stringify(again)} when repeated, and differently before`);
  }
  const after = await store.head();
  if (after !== head) problems.push(`repeated appends moved the head from ${head} to ${after}`);
  return problems;
}

function brokenOrder(events: readonly RecordedEvent[]): string[] {
  const problems: string[] = [];
  const revisions = new Map<string, number>();
  const ids = new Set<string>();
  events.forEach(({ id, position, stream, revision }, index) => {
    const expected = (revisions.get(stream) ?? -1) + 1;
    if (position !== index + 1) problems.push(`position ${position} is the event number ${index + 1}`);
    if (revision !== expected) problems.push(`${stream} has revision ${revision} where ${expected} is due`);
    if (ids.has(id)) problems.push(`event ${id} is there twice`);
    revisions.set(stream, revision);
    ids.add(id);
  });
  return problems;
}

/** A stream that is read by itself must be what the log has of it. */
async function brokenStreams(store: EventStore, events: readonly RecordedEvent[]): Promise<string[]> {
  const problems: string[] = [];
  const byStream = new Map<string, RecordedEvent[]>();
  for (const event of events) {
    const own = byStream.get(event.stream);
    if (own) own.push(event);
    else byStream.set(event.stream, [event]);
  }
  for (const [stream, own] of byStream) {
    const read = await store.readStream(stream).toArray();
    if (!isDeepStrictEqual(read, own)) problems.push(`${stream}, read by itself, differs from the log`);
  }
  return problems;
}

function lookFor(
  { appends, outcomes }: Intent,
  byId: ReadonlyMap<string, RecordedEvent>,
): { readonly found: number; readonly last: number; readonly problems: readonly string[] } {
  const wanted = appends.flatMap(({ stream, events }) => events.map((event) => ({ stream, event })));
  const found = wanted.map(({ event }) => byId.get(event.id ?? '')).filter((event) => event !== undefined);
  const last = found.at(-1)?.position ?? 0;
  if (found.length > 0 && found.length < wanted.length) {
    return {
      found: found.length,
      last,
      problems: [`${found.length} of its ${wanted.length} events are there`],
    };
  }
  const acknowledged = outcomes.filter(({ results }) => results);
  if (found.length === 0) {
    return { found: 0, last, problems: acknowledged.map(() => 'acknowledged, and not in the log') };
  }
  const problems: string[] = [];
  if (acknowledged.length < outcomes.length) problems.push('refused, and in the log');
  const first = found[0]?.position ?? 0;
  wanted.forEach(({ stream, event }, index) => {
    const recorded = found[index];
    if (!recorded || !isSame(recorded, stream, event)) problems.push(`event ${event.id} has changed`);
    if (recorded?.position !== first + index)
      problems.push(`event ${event.id} is not behind the one before it`);
  });
  const results = appends.map((append) => resultOf(append, byId));
  for (const told of acknowledged) {
    if (isDeepStrictEqual(told.results, results)) continue;
    problems.push(`it is at ${JSON.stringify(results)}, its caller was told ${JSON.stringify(told.results)}`);
  }
  return { found: found.length, last, problems };
}

function isSame(recorded: RecordedEvent, stream: string, event: NewEvent): boolean {
  return (
    recorded.stream === stream &&
    recorded.type === event.type &&
    recorded.version === event.version &&
    isDeepStrictEqual(recorded.data, event.data) &&
    isDeepStrictEqual(recorded.metadata, event.metadata ?? {})
  );
}

function resultOf({ stream, events }: StreamAppend, byId: ReadonlyMap<string, RecordedEvent>): AppendResult {
  const { revision = -1, position = 0 } = byId.get(events.at(-1)?.id ?? '') ?? {};
  return { stream, revision, position };
}
