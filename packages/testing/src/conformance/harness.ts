import type { Clock, EventStoreSupports } from '@refold/core';
import { randomUUID } from 'node:crypto';
import { afterEach, it } from 'mocha';

/** What a conformance suite asks of a store that it opens; an adapter passes it on. */
export interface OpenOptions {
  readonly maxEventBytes?: number;
  readonly clock?: Clock;
}

/**
 * What a store may lack by declaration: `instances`, several at once on the same data; `clock`, an injectable one;
 * `literalDocuments`, documents that keep the order of their keys, NUL and lone surrogates.
 */
export type Capability = keyof EventStoreSupports | 'instances' | 'clock' | 'literalDocuments';

/** How the suites get at an adapter's stores. */
export interface StoreHarness<Store> {
  /**
   * Opens a store on a place: an empty one where the place was never named before, another instance on the same data
   * where it was. A place is a lower-case identifier, to be used as the name of a file, a schema or a topic.
   */
  open(place: string, options: OpenOptions): Promise<Store>;
  /** Removes a place when the test is over and its stores are closed. */
  discard?(place: string): Promise<void>;
  /** Why the store lacks something: the tests that need it are shown as skipped, with the reason. */
  readonly lacks?: Readonly<Partial<Record<Capability, string>>>;
}

interface Closable {
  close(): Promise<void>;
}

/** Opens stores for one test at a time, and closes them when it is over. */
export interface Stores<Store> {
  /** A store on a place of its own. */
  open(options?: OpenOptions): Promise<Store>;
  /** Another instance on the place of an open store. */
  another(store: Store, options?: OpenOptions): Promise<Store>;
}

/** Gives a suite its stores. To be called inside `describe`. */
export function useStores<Store extends Closable>(harness: StoreHarness<Store>): Stores<Store> {
  const places = new Map<Store, string>();
  afterEach(async () => {
    const opened = [...places];
    places.clear();
    for (const [store] of opened) await store.close();
    for (const place of new Set(opened.map(([, place]) => place))) await harness.discard?.(place);
  });
  const openAt = async (place: string, options: OpenOptions): Promise<Store> => {
    const store = await harness.open(place, options);
    places.set(store, place);
    return store;
  };
  return {
    open: (options = {}) => openAt(`conformance_${randomUUID().slice(0, 13).replace('-', '')}`, options),
    another: (store, options = {}) => {
      const place = places.get(store);
      if (place === undefined) throw new Error('another() takes a store that open() has returned');
      return openAt(place, options);
    },
  };
}

/** Declares a test that needs something of the store; where that is lacking, a skipped test that says why. */
export function itNeeds(
  { lacks = {} }: { readonly lacks?: Readonly<Partial<Record<Capability, string>>> },
  needed: Capability | readonly Capability[],
  title: string,
  body: () => Promise<void>,
): void {
  const names = typeof needed === 'string' ? [needed] : needed;
  const missing = names.find((name) => lacks[name] !== undefined);
  if (missing === undefined) it(title, body);
  else it(`${title} (does not apply, no ${missing}: ${lacks[missing]})`);
}
