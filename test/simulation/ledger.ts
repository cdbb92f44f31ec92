import type { Lease } from '@refold/core';
import { failuresOf, handles, sequenceOf, type ProcessorSpec } from './domain.js';
import { isDone, type World } from './world.js';

/** One event in a delivery's handler. */
export interface Delivered {
  readonly lease: Lease;
  readonly position: number;
  readonly n: number;
  readonly replaying: boolean;
}

/** What handlers have done outside of the store, and whether they should have done it. */
export class Ledger {
  readonly #seed: number;
  readonly #world: World;
  readonly #attempts = new Map<string, number>();
  /** How often each event of a generation was handled, whoever did it. */
  readonly #handled = new Map<string, number>();
  /** What was handled under one lease. */
  readonly #byLease = new Map<string, Set<number>>();
  /** The furthest event of each sequence of a generation that a live worker has handled. */
  readonly #furthest = new Map<string, number>();
  readonly #notified = new Map<number, number>();

  constructor(seed: number, world: World) {
    this.#seed = seed;
    this.#world = world;
  }

  /** @throws Error for an event that fails (this time) */
  attempt(spec: ProcessorSpec, n: number): void {
    const failures = failuresOf(this.#seed, spec, n);
    const attempts = add(this.#attempts, `${spec.name} ${n}`);
    if (failures === Infinity || (attempts <= failures && !this.#world.healed)) {
      throw new Error(`cannot handle ${n}`);
    }
  }

  /** An event has its effect, once in a transaction that may yet be undone. */
  notified(position: number): void {
    add(this.#notified, position);
  }

  wasNotified(position: number): boolean {
    return this.#notified.has(position);
  }

  timesHandled(processor: string, generation: number, position: number): number {
    return this.#handled.get(`${processor} ${generation} ${position}`) ?? 0;
  }

  /** An event has its effect in a delivery's handler. @throws Error for one that fails */
  async deliver(spec: ProcessorSpec, delivered: Delivered): Promise<void> {
    const { lease, position, n } = delivered;
    // Whoever was frozen or cut off may do late what it had in hand; only for that, no delivery can help it.
    const live = this.#world.leases.isHeld(lease);
    if (live) await this.#checkDelivered(spec, delivered);
    if (spec.name === 'pings') this.#checkMostOnce(spec, delivered, live);
    else this.attempt(spec, n);
    add(this.#handled, `${spec.name} ${lease.generation} ${position}`);
    const key = leaseKey(lease);
    this.#byLease.set(key, (this.#byLease.get(key) ?? new Set()).add(position));
    if (spec.name === 'pings') this.attempt(spec, n);
  }

  async #checkDelivered(spec: ProcessorSpec, { lease, position, replaying }: Delivered): Promise<void> {
    const { name } = spec;
    const { generation } = lease;
    const sequence = this.#sequenceAt(spec, position);
    const what = `"${name}" generation ${generation} event ${position} of sequence "${sequence}"`;
    const partitions = (await this.#world.store.partitions(name)).filter(
      (one) => one.generation === generation,
    );
    const progress = partitions.flatMap((one) => [one, ...one.ahead]);
    const known = this.#world.wasProcessed(name, generation, sequence, position);
    if (replaying !== known) this.#world.complain(`${what} is ${known ? 'not ' : ''}said to be a replay`);
    if (name === 'pings') {
      if (!isDone(progress, sequence, position)) this.#world.complain(`${what} comes before its checkpoint`);
      return;
    }
    const letters = await this.#letters(name, generation);
    // One that is discarded at that moment may be on its way already.
    const discarded = await this.#letters(name, generation, true);
    if (isDone(progress, sequence, position) && !letters.has(position) && !discarded.has(position))
      this.#world.complain(`${what} is handled, though it was done`);
    const own = this.#byLease.get(leaseKey(lease)) ?? new Set();
    for (const { position: earlier } of this.#earlier(spec, sequence, position)) {
      if (letters.has(earlier)) this.#world.complain(`${what} overtakes the dead letter at ${earlier}`);
      else if (!own.has(earlier) && !isDone(progress, sequence, earlier))
        this.#world.complain(`${what} overtakes the one at ${earlier}`);
    }
  }

  #checkMostOnce(spec: ProcessorSpec, { lease, position }: Delivered, live: boolean): void {
    const { generation } = lease;
    const sequence = this.#sequenceAt(spec, position);
    const what = `"${spec.name}" generation ${generation} event ${position}`;
    if (this.timesHandled(spec.name, generation, position) > 0)
      this.#world.complain(`${what} is handled twice`);
    const key = `${spec.name} ${generation} ${sequence}`;
    const furthest = this.#furthest.get(key) ?? 0;
    if (live && position <= furthest)
      this.#world.complain(`${what} comes after ${furthest} of its sequence "${sequence}"`);
    if (live) this.#furthest.set(key, Math.max(furthest, position));
  }

  async #letters(processor: string, generation: number, discarded = false): Promise<Set<number>> {
    const letters = await this.#world.store.deadLetters({ processor, generation, discarded, limit: 1000 });
    return new Set(letters.map(({ position }) => position));
  }

  #sequenceAt(spec: ProcessorSpec, position: number): string {
    const event = this.#world.events[position - 1];
    if (!event) throw new Error(`There is no event at position ${position}`);
    return sequenceOf(spec, event);
  }

  #earlier(spec: ProcessorSpec, sequence: string, position: number): { readonly position: number }[] {
    return this.#world.events.filter(
      (one) => one.position < position && handles(spec, one) && sequenceOf(spec, one) === sequence,
    );
  }
}

function leaseKey({ processor, generation, firstSlice, token }: Lease): string {
  return `${processor} ${generation} ${firstSlice} ${token}`;
}

function add<Key>(counts: Map<Key, number>, key: Key): number {
  const count = (counts.get(key) ?? 0) + 1;
  counts.set(key, count);
  return count;
}
