import {
  DefinitionError,
  InvalidArgumentError,
  NotIndexedError,
  type DocumentQuery,
  type Generation,
  type Indexes,
  type StateStore,
} from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { setImmediate } from 'node:timers/promises';
import { failure } from './expectations.js';
import {
  createIndexed,
  DOCUMENTS,
  filteredAndSorted,
  INDEXES,
  keysOf,
  NUMBERS,
  pageOf,
  pages,
  QUERY,
  randomText,
  replaceAll,
  TEXTS,
} from './finding-model.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import { COUNTERS, createCounting, PROCESSOR, put } from './read-models.js';

/** Finding documents by declared indexes. */
export function describeFinding(harness: StoreHarness<StateStore>): void {
  describe('finding documents', () => {
    const stores = useStores(harness);
    const open = async (): Promise<{ readonly store: StateStore; readonly generation: Generation }> => {
      const store = await stores.open();
      return { store, generation: await createIndexed(store) };
    };

    it('finds none while there is no live generation', async () => {
      const store = await stores.open();
      assert.deepEqual(await pageOf(store, { where: { status: 'open' } }), { entries: [] });
      await put(store, await createIndexed(store, { beside: true }), { a: { status: 'open' } });
      assert.deepEqual(await pageOf(store), { entries: [] });
    });

    it('finds by equality, by one of several values and by ranges; all that is asked for must hold', async () => {
      const { store, generation } = await open();
      await put(store, generation, {
        a: { status: 'open', total: 10, open: true, customer: { city: 'Bonn' } },
        b: { status: 'open', total: 20, open: false, customer: { city: 'Ulm' } },
        c: { status: 'closed', total: 20, open: false, customer: { city: 'Bonn' } },
        d: { status: 'lost', total: -5.5, open: true, customer: { city: 'Jena' } },
      });
      const expected: [DocumentQuery['where'], string][] = [
        [undefined, 'abcd'],
        [{}, 'abcd'],
        [{ status: 'open' }, 'ab'],
        [{ status: 'ope' }, ''],
        [{ total: 20 }, 'bc'],
        [{ open: true }, 'ad'],
        [{ open: { lt: true } }, 'bc'],
        [{ 'customer.city': 'Bonn' }, 'ac'],
        [{ status: { in: ['lost', 'closed', 'lost', 'never'] } }, 'cd'],
        [{ total: { in: [] } }, ''],
        [{ open: { in: [true, false] } }, 'abcd'],
        [{ total: { gt: 10 } }, 'bc'],
        [{ total: { gte: 10 } }, 'abc'],
        [{ total: { lt: 10 } }, 'd'],
        [{ total: { lte: 10 } }, 'ad'],
        [{ total: { gte: -5.5, lt: 20 } }, 'ad'],
        [{ total: { gt: 20, lt: 10 } }, ''],
        [{ status: { gte: 'd', in: ['closed', 'open'] } }, 'ab'],
        [{ status: 'open', total: { gte: 15 }, 'customer.city': { gt: 'Bonn' }, open: false }, 'b'],
      ];
      for (const [where, keys] of expected) {
        assert.equal((await keysOf(store, { where })).join(''), keys, JSON.stringify(where));
      }
    });

    it('orders by a field and then by key, forward and backward', async () => {
      const { store, generation } = await open();
      const totals = { d: 2, a: 2, c: 1, b: 10, e: -3 };
      await put(store, generation, new Map(Object.entries(totals).map(([key, total]) => [key, { total }])));
      assert.deepEqual(await keysOf(store), ['a', 'b', 'c', 'd', 'e']);
      assert.deepEqual(await keysOf(store, { direction: 'backward' }), ['e', 'd', 'c', 'b', 'a']);
      assert.deepEqual(await keysOf(store, { orderBy: 'total' }), ['e', 'c', 'a', 'd', 'b']);
      const backward = { orderBy: 'total', direction: 'backward' } as const;
      assert.deepEqual(await keysOf(store, backward), ['b', 'd', 'a', 'c', 'e']);
      assert.deepEqual(await keysOf(store, { ...backward, where: { total: { lt: 5 } }, limit: 2 }), [
        'd',
        'a',
      ]);
    });

    it('orders strings by code point, numbers by size, and false before true', async () => {
      const { store, generation } = await open();
      const inOrder = TEXTS.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      const documents = [
        ...TEXTS.map((status) => ({ status })),
        ...NUMBERS.map((total) => ({ total })),
        { open: true },
        { open: false },
      ];
      await put(store, generation, new Map(documents.map((one, index) => [`${index}`, one])));
      const values = async (orderBy: string): Promise<unknown[]> =>
        (await pageOf(store, { orderBy })).entries.map(
          ([, one]) => (one as Record<string, unknown>)[orderBy],
        );
      assert.deepEqual(await values('status'), inOrder);
      assert.deepEqual(
        await values('total'),
        NUMBERS.toSorted((a, b) => a - b),
      );
      assert.deepEqual(await values('open'), [false, true]);
      for (const status of TEXTS) assert.lengthOf(await keysOf(store, { where: { status } }), 1, status);
      for (const total of NUMBERS) assert.lengthOf(await keysOf(store, { where: { total } }), 1, `${total}`);
    });

    itNeeds(harness, 'literalDocuments', 'tells NUL and halves of surrogate pairs apart too', async () => {
      const { store, generation } = await open();
      const inOrder = ['', 'a', 'a\0', 'a\0b', 'ab', '\ud7ff', '\ud800', '\ud83d', '\ud83dA', '\ud83dB'];
      inOrder.push('\ud83d\ue000', '\udc00', '\ue000', '\uffff', '😀', '😀a');
      const keys = inOrder.map((_, index) => `${(index * 7) % inOrder.length}`);
      await put(store, generation, new Map(inOrder.map((status, index) => [keys[index] ?? '', { status }])));
      const entries = await pages(store, { orderBy: 'status', limit: 1 });
      assert.deepEqual(
        entries.map(([key]) => key),
        keys,
      );
      for (const status of inOrder) assert.lengthOf(await keysOf(store, { where: { status } }), 1);
    });

    it('leaves out what lacks a field that is named, or holds something else or too long a string there', async () => {
      const { store, generation } = await open();
      const long = 'ü'.repeat(500);
      await put(store, generation, {
        a: { total: 1, status: long, customer: { city: 'Bonn' } },
        b: { total: '1', status: 1, customer: 'Bonn' },
        c: { total: null, status: null, customer: null },
        d: { total: [1], status: { status: 'a' }, customer: [{ city: 'Bonn' }] },
        e: {},
        f: 'total',
        g: [1],
        h: { total: true, status: `${long}x`, 'customer.city': 'Bonn' },
        i: { total: 'x'.repeat(20_000), status: randomText(20_000) },
        j: null,
      });
      for (const field of ['total', 'status', 'customer.city']) {
        assert.deepEqual(await keysOf(store, { orderBy: field }), ['a'], field);
        assert.deepEqual(await keysOf(store, { orderBy: field, direction: 'backward' }), ['a'], field);
      }
      assert.deepEqual(await keysOf(store, { where: { total: { gte: -1e300 } } }), ['a']);
      assert.deepEqual(await keysOf(store, { where: { status: { gte: '' } } }), ['a']);
      assert.deepEqual(await keysOf(store, { where: { status: `${long}x` } }), []);
      assert.lengthOf(await keysOf(store), 10);
    });

    it('gives pages that neither lose nor repeat a document, among equal values too', async () => {
      const { store, generation } = await open();
      const documents = Array.from(
        { length: 50 },
        (_, index) => [`key-${index}`, { total: index % 3, open: index % 2 === 0 }] as const,
      );
      await put(store, generation, new Map(documents));
      for (const direction of ['forward', 'backward'] as const) {
        for (const orderBy of [undefined, 'total', 'open']) {
          const query = { orderBy, direction, where: { total: { gte: 0 } } };
          const whole = await pageOf(store, query);
          assert.lengthOf(whole.entries, 50);
          assert.isUndefined(whole.next);
          for (const limit of [1, 7, 25, 50]) {
            assert.deepEqual(await pages(store, { ...query, limit }), whole.entries.slice());
          }
        }
      }
    });

    it('goes on behind the place of a page when the documents around it have changed', async () => {
      const { store, generation } = await open();
      await put(store, generation, { a: { total: 1 }, b: { total: 1 }, c: { total: 1 }, d: { total: 2 } });
      const page = { orderBy: 'total', limit: 2 } as const;
      const first = await pageOf(store, page);
      assert.deepEqual(
        first.entries.map(([key]) => key),
        ['a', 'b'],
      );
      await put(store, generation, { aa: { total: 1 }, b: { total: 9 }, bb: { total: 1 } });
      const second = await pageOf(store, { ...page, after: first.next });
      assert.deepEqual(
        second.entries.map(([key]) => key),
        ['bb', 'c'],
      );
      const third = await pageOf(store, { ...page, after: second.next });
      assert.deepEqual(
        third.entries.map(([key]) => key),
        ['d', 'b'],
      );
      assert.isUndefined(third.next);
    });

    it('refuses fields that are not declared, and names those that are', async () => {
      const { store } = await open();
      for (const query of [
        { where: { city: 'Bonn' } },
        { orderBy: 'customer' },
        { where: { toString: 'a' } },
      ]) {
        const error = await failure(NotIndexedError, 'NOT_INDEXED', () => pageOf(store, query));
        assert.equal(error.collection, COUNTERS);
        assert.deepEqual(error.declared, Object.keys(INDEXES));
        assert.include(error.message, 'customer.city');
      }
      const find = (): unknown => store.documents(COUNTERS).find({ orderBy: 'total' });
      await failure(NotIndexedError, 'NOT_INDEXED', find);
    });

    it('refuses values of another type, and what is no query', async () => {
      const { store, generation } = await open();
      await put(store, generation, { a: { total: 1 }, b: { total: 2 } });
      const next = (await pageOf(store, { orderBy: 'total', limit: 1 })).next;
      const bad: unknown[] = [
        { where: { total: '1' } },
        { where: { total: NaN } },
        { where: { total: { lt: Infinity } } },
        { where: { status: 1 } },
        { where: { status: null } },
        { where: { status: undefined } },
        { where: { status: { gte: undefined } } },
        { where: { open: 1 } },
        { where: { open: { in: [true, 'false'] } } },
        { where: { total: { in: 1 } } },
        { where: { total: [1] } },
        { where: { total: {} } },
        { where: { total: { from: 1 } } },
        { where: { total: { toString: 1 } } },
        { limit: 0 },
        { limit: 1.5 },
        { direction: 'up' },
        { after: '' },
        { after: 'a' },
        { after: next },
        { after: next, orderBy: 'status' },
        { after: Buffer.from('["total","1","a"]').toString('base64url'), orderBy: 'total' },
      ];
      for (const query of bad) {
        const find = (): unknown => pageOf(store, query as DocumentQuery);
        await failure(InvalidArgumentError, 'INVALID_ARGUMENT', find);
      }
    });

    it('sees the live generation only, before and after another takes its place', async () => {
      const { store, generation } = await open();
      await put(store, generation, { a: { total: 1 }, b: { total: 2 } });
      const next = await createIndexed(store, { version: 2 });
      await put(store, next, { b: { total: 3 }, c: { total: 4 } });
      const query = { where: { total: { gt: 0 } }, orderBy: 'total' } as const;
      assert.deepEqual(await keysOf(store, query), ['a', 'b']);
      const { next: place } = await pageOf(store, { ...query, limit: 1 });
      await store.transaction(async (unit) => {
        await unit.activate(PROCESSOR, next.generation);
        await unit.documents(COUNTERS, next.generation).putMany(new Map([['d', { total: 5 }]]));
      });
      assert.deepEqual(await keysOf(store, query), ['b', 'c', 'd']);
      assert.deepEqual(await keysOf(store, { ...query, after: place }), ['b', 'c', 'd']);
    });

    it('sees one build at a time, however often another takes its place meanwhile', async () => {
      const { store, generation } = await open();
      const build = (total: number): Map<string, unknown> =>
        new Map(Array.from({ length: 30 }, (_, index) => [`key-${index}`, { total, status: 'open' }]));
      await put(store, generation, build(1));
      let swapping = true;
      const seen = new Set<unknown>();
      const looking = Array.from({ length: 3 }, async () => {
        while (swapping) {
          const { entries } = await pageOf(store, { where: { status: 'open' }, orderBy: 'total' });
          const totals = new Set(entries.map(([, document]) => (document as { total: number }).total));
          assert.lengthOf(entries, 30);
          assert.equal(totals.size, 1);
          for (const total of totals) seen.add(total);
          await setImmediate();
        }
      });
      for (let version = 2, live = generation; version <= 8; version++) {
        const next = await createIndexed(store, { version });
        await put(store, next, build(version));
        await store.transaction((unit) => unit.activate(PROCESSOR, next.generation));
        await store.dropGeneration(PROCESSOR, live.generation);
        live = next;
        await setImmediate();
      }
      swapping = false;
      await Promise.all(looking);
      assert.isAtLeast(seen.size, 2);
    });

    it('sees what is committed, and nothing of what was undone', async () => {
      const { store, generation } = await open();
      await put(store, generation, { a: { status: 'open' }, b: { status: 'open' } });
      const undone = store.transaction(async (unit) => {
        const documents = unit.documents(COUNTERS, generation.generation);
        await documents.putMany(new Map([['c', { status: 'open' }]]));
        await documents.deleteMany(['a']);
        assert.deepEqual(await keysOf(store, { where: { status: 'open' } }), ['a', 'b']);
        throw new Error('undone');
      });
      await undone.catch(() => {});
      assert.deepEqual(await keysOf(store, { where: { status: 'open' } }), ['a', 'b']);
      await put(store, generation, { a: { status: 'closed' } });
      await store.transaction((unit) => unit.documents(COUNTERS, generation.generation).deleteMany(['b']));
      assert.deepEqual(await keysOf(store, { where: { status: 'open' } }), []);
    });

    it('gives copies', async () => {
      const { store, generation } = await open();
      await put(store, generation, { a: { total: 1 } });
      const [entry] = (await pageOf(store, { orderBy: 'total' })).entries;
      Object.assign(entry?.[1] as object, { total: 2 });
      assert.deepEqual(await store.documents(COUNTERS).get('a'), { total: 1 });
    });

    it('takes other indexes for another version only', async () => {
      const { store, generation } = await open();
      await put(store, generation, { a: { name: 'x', total: 1 } });
      assert.deepEqual(await createIndexed(store), generation);
      const changes: (Indexes | undefined)[] = [
        undefined,
        { ...INDEXES, name: 'string' },
        { ...INDEXES, total: 'string' },
      ];
      for (const indexes of changes) {
        const collections = [{ name: COUNTERS, kind: 'documents', indexes }] as const;
        const error = await failure(DefinitionError, 'DEFINITION', () =>
          createCounting(store, { collections }),
        );
        assert.include(error.message, 'version');
      }
      const collections = [{ name: COUNTERS, kind: 'documents', indexes: { name: 'string' } }] as const;
      assert.equal((await createCounting(store, { collections, version: 2 })).status, 'building');
      await failure(DefinitionError, 'DEFINITION', () => createIndexed(store, { version: 2 }));
      // While version 1 is served, the code of version 2 asks it already.
      const { entries } = await store.documents(COUNTERS, { name: 'string' }).find({ where: { name: 'x' } });
      assert.lengthOf(entries, 1);
    });

    it('refuses to declare what is no field, or of no type', async () => {
      const store = await stores.open();
      for (const [field, type] of [
        ['', 'string'],
        ['a..b', 'string'],
        ["a'", 'string'],
        ['a', 'date'],
      ] as const) {
        const indexes = { [field]: type } as Indexes;
        const collections = [{ name: COUNTERS, kind: 'documents', indexes }] as const;
        await failure(DefinitionError, 'DEFINITION', () => createCounting(store, { collections }));
      }
      assert.isEmpty(await store.generations(PROCESSOR));
    });

    it('finds what a filter and a sort of all documents find, page by page', async () => {
      const { store, generation } = await open();
      await fc.assert(
        fc.asyncProperty(
          DOCUMENTS,
          fc.array(QUERY, { minLength: 1, maxLength: 4 }),
          async (documents, queries) => {
            await replaceAll(store, generation, documents);
            for (const query of queries) {
              const expected = filteredAndSorted(documents, query);
              assert.deepEqual(await pages(store, query), expected, JSON.stringify(query));
            }
          },
        ),
        { numRuns: 100 },
      );
    });
  });
}
