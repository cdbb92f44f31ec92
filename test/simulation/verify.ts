import type { Generation, Partition } from '@refold/core';
import { failuresOf, fold, handles, NOTHING, sequenceOf, type Folded, type ProcessorSpec } from './domain.js';
import type { Ledger } from './ledger.js';
import type { KnownEvent, World } from './world.js';

/** What the live generation of a processor is, and what its dead letters are. */
interface Found {
  readonly live: Generation;
  readonly partitions: readonly Partition[];
  readonly open: ReadonlySet<number>;
  readonly discarded: ReadonlySet<number>;
}

/** Compares what processors have come to with what a plain loop over the log comes to. */
export class Verification {
  readonly #seed: number;
  readonly #world: World;
  readonly #ledger: Ledger;

  constructor(seed: number, world: World, ledger: Ledger) {
    this.#seed = seed;
    this.#world = world;
    this.#ledger = ledger;
  }

  /** Why a processor has not come to rest; undefined when it has. */
  async unrest(spec: ProcessorSpec): Promise<string | undefined> {
    const found = await this.#find(spec);
    if (!found) return `"${spec.name}" has no live generation`;
    const { partitions, open, discarded, live } = found;
    const failed = partitions.find(({ failure }) => failure);
    if (failed) return `"${spec.name}" has stopped: ${failed.failure?.message}`;
    const behind = partitions.find(({ position }) => position < this.#world.head);
    if (behind)
      return `"${spec.name}" slice ${behind.firstSlice} is at ${behind.position} of ${this.#world.head}`;
    const expected = this.#expectedLetters(spec, live, discarded);
    if (!equal(open, expected))
      return `"${spec.name}" has dead letters at ${list(open)} and should at ${list(expected)}`;
    return undefined;
  }

  /** Makes every dead letter due. */
  async retryAll(spec: ProcessorSpec): Promise<void> {
    const found = await this.#find(spec);
    if (!found || found.open.size === 0) return;
    const selection = { processor: spec.name, generation: found.live.generation };
    await this.#world.store.retryDeadLetters(selection, new Date(this.#world.scheduler.now));
  }

  /** Complains of everything that is not as it must be, when all is at rest and these workers have been stopped. */
  async verify(spec: ProcessorSpec, ended: ReadonlySet<string>): Promise<void> {
    const found = await this.#find(spec);
    if (!found) return;
    const done = this.#eventsOf(spec, found.live).filter(
      ({ position }) => !found.open.has(position) && !found.discarded.has(position),
    );
    if (spec.name === 'mails') this.#verifyDelivered(spec, found.live, done);
    else if (spec.name !== 'pings') await this.#verifyModel(spec, found.live, done);
    const held = found.partitions.find(({ holder }) => holder !== undefined && ended.has(holder));
    if (held) this.#world.complain(`"${spec.name}" is held by ${held.holder}, which has ended`);
  }

  #verifyDelivered({ name }: ProcessorSpec, { generation }: Generation, done: readonly KnownEvent[]): void {
    for (const { position } of done) {
      if (this.#ledger.timesHandled(name, generation, position) === 0)
        this.#world.complain(`"${name}" generation ${generation} has never handled ${position}`);
    }
  }

  async #verifyModel(spec: ProcessorSpec, live: Generation, done: readonly KnownEvent[]): Promise<void> {
    const expected = new Map<string, Folded>();
    for (const event of done) {
      const key = sequenceOf(spec, event);
      expected.set(key, fold(expected.get(key) ?? NOTHING, event.n, live.version));
    }
    const actual = new Map<string, unknown>();
    for await (const [key, document] of this.#world.store.documents(spec.name).entries())
      actual.set(key, document);
    for (const key of new Set([...expected.keys(), ...actual.keys()])) {
      const [is, should] = [actual, expected].map((one) => JSON.stringify(one.get(key)));
      if (is !== should)
        this.#world.complain(
          `"${spec.name}" generation ${live.generation} has ${is} for "${key}", should be ${should}`,
        );
    }
    if (spec.name === 'chain') this.#verifyNotified(done);
  }

  #verifyNotified(done: readonly KnownEvent[]): void {
    for (const { position } of done) {
      if (!this.#ledger.wasNotified(position) && !this.#world.wasPassedOver('chain', position))
        this.#world.complain(`nobody was notified of ${position}`);
    }
  }

  /** What always fails, but for what was given up, and everything that waits behind it. */
  #expectedLetters(spec: ProcessorSpec, live: Generation, discarded: ReadonlySet<number>): Set<number> {
    const expected = new Set<number>();
    if (spec.onError !== 'park') return expected;
    const blocked = new Set<string>();
    for (const event of this.#eventsOf(spec, live)) {
      if (discarded.has(event.position)) continue;
      const sequence = sequenceOf(spec, event);
      if (failuresOf(this.#seed, spec, event.n) === Infinity) blocked.add(sequence);
      if (blocked.has(sequence)) expected.add(event.position);
    }
    return expected;
  }

  #eventsOf(spec: ProcessorSpec, { startedAfter }: Generation): KnownEvent[] {
    return this.#world.events.filter((event) => event.position > startedAfter && handles(spec, event));
  }

  async #find({ name }: ProcessorSpec): Promise<Found | undefined> {
    const { store } = this.#world;
    const live = (await store.generations(name)).find(({ status }) => status === 'live');
    if (!live) return undefined;
    const { generation } = live;
    const query = { processor: name, generation, limit: 10_000 };
    const open = await store.deadLetters(query);
    const discarded = await store.deadLetters({ ...query, discarded: true });
    return {
      live,
      partitions: (await store.partitions(name)).filter((one) => one.generation === generation),
      open: new Set(open.map(({ position }) => position)),
      discarded: new Set(discarded.map(({ position }) => position)),
    };
  }
}

function equal(a: ReadonlySet<number>, b: ReadonlySet<number>): boolean {
  return a.size === b.size && [...a].every((one) => b.has(one));
}

function list(positions: ReadonlySet<number>): string {
  return positions.size === 0 ? 'none' : [...positions].join(', ');
}
