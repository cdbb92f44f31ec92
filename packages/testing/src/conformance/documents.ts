import { SerializationError, type Generation, type StateStore } from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { failure } from './expectations.js';
import { itNeeds, useStores, type StoreHarness } from './harness.js';
import { COUNTERS, createCounting, put, visible } from './read-models.js';
import { ODD_VALUES } from './round-trip.js';

const ODD_KEYS = [
  'a',
  'A',
  'ä',
  'a\u0308',
  'é',
  '10',
  '9',
  ' ',
  "it's",
  '"quoted"',
  '%',
  '_',
  '\\',
  'a/b.c#d',
  '__proto__',
  'constructor',
  '\u200b',
  '\ufffd',
  '\ue000',
  '𝒳',
  '👩‍👩‍👧‍👦',
  '東京',
  'x'.repeat(1000),
];

/** Read models of keyed documents. */
export function describeDocuments(harness: StoreHarness<StateStore>): void {
  describe('documents', () => {
    const stores = useStores(harness);
    const open = async (): Promise<{ readonly store: StateStore; readonly generation: Generation }> => {
      const store = await stores.open();
      return { store, generation: await createCounting(store) };
    };

    it('are empty while there is no live generation', async () => {
      const store = await stores.open();
      const documents = store.documents(COUNTERS);
      assert.isUndefined(await documents.get('a'));
      assert.equal((await documents.getMany(['a', 'b'])).size, 0);
      assert.equal(await documents.count(), 0);
      assert.deepEqual(await visible(store), []);
      assert.equal((await store.documentsOf(COUNTERS, 1).getMany(['a'])).size, 0);
      await put(store, await createCounting(store), { a: 1 });
      assert.equal(await documents.get('a'), 1);
    });

    it('are put, replaced and deleted by key', async () => {
      const { store, generation } = await open();
      await put(store, generation, { a: 1, b: 2, c: 3 });
      await put(store, generation, { b: { n: 20 }, d: 4 });
      await store.transaction(async (unit) => {
        const documents = unit.documents(COUNTERS, generation.generation);
        await documents.deleteMany(['a', 'never there']);
        await documents.deleteMany([]);
        await documents.putMany(new Map());
        assert.equal((await documents.getMany([])).size, 0);
      });
      const documents = store.documents(COUNTERS);
      assert.isUndefined(await documents.get('a'));
      assert.deepEqual(await documents.get('b'), { n: 20 });
      const found = await documents.getMany(['c', 'a', 'd', 'never there', 'c']);
      assert.deepEqual(
        new Set(found),
        new Set([
          ['c', 3],
          ['d', 4],
        ] as [string, unknown][]),
      );
      assert.equal(await documents.count(), 3);
    });

    it('are put again after they were deleted, in one transaction', async () => {
      const { store, generation } = await open();
      await put(store, generation, { a: 1 });
      await store.transaction(async (unit) => {
        const documents = unit.documents(COUNTERS, generation.generation);
        await documents.deleteMany(['a']);
        assert.equal((await documents.getMany(['a'])).size, 0);
        await documents.putMany(new Map([['a', 2]]));
        assert.equal((await documents.getMany(['a'])).get('a'), 2);
      });
      assert.deepEqual(await visible(store), [['a', 2]]);
    });

    it('come back as the values that went in, however odd', async () => {
      const { store, generation } = await open();
      const values = ODD_VALUES.filter(([, value]) => !NOT_IN_JSONB.test(JSON.stringify(value)));
      assert.isAtLeast(values.length, ODD_VALUES.length - 3);
      await put(store, generation, new Map(values));
      const entries = new Map(await visible(store));
      for (const [title, value] of values) {
        assert.equal(canonical(await store.documents(COUNTERS).get(title)), canonical(value), title);
        assert.equal(canonical(entries.get(title)), canonical(value), title);
      }
    });

    itNeeds(harness, 'literalDocuments', 'come back as they went in, to the letter', async () => {
      const { store, generation } = await open();
      await put(store, generation, new Map(ODD_VALUES));
      for (const [title, value] of ODD_VALUES) {
        const read = await store.documents(COUNTERS).get(title);
        assert.equal(JSON.stringify(read), JSON.stringify(value), title);
      }
    });

    if (harness.lacks?.literalDocuments !== undefined) {
      it('that the store cannot keep are refused, with all of their transaction', async () => {
        const { store, generation } = await open();
        for (const odd of ['a\u0000b', { '\u0000': 1 }, ['\ud800']]) {
          await failure(SerializationError, 'SERIALIZATION', () => put(store, generation, { good: 1, odd }));
        }
        assert.deepEqual(await visible(store), []);
      });
    }

    it('are copies: what one reader changes, no other sees', async () => {
      const { store, generation } = await open();
      const document = { list: [1] };
      await put(store, generation, { a: document });
      document.list.push(2);
      const read = await store.documents(COUNTERS).get('a');
      assert.deepEqual(read, { list: [1] });
      assert.notStrictEqual(await store.documents(COUNTERS).get('a'), read);
    });

    it('are told apart by every character of their keys', async () => {
      const { store, generation } = await open();
      await put(store, generation, new Map(ODD_KEYS.map((key) => [key, { key }])));
      for (const key of ODD_KEYS) assert.deepEqual(await store.documents(COUNTERS).get(key), { key });
      assert.equal(await store.documents(COUNTERS).count(), ODD_KEYS.length);
      await store.transaction((unit) =>
        unit.documents(COUNTERS, generation.generation).deleteMany(['é', '%', '__proto__']),
      );
      assert.equal(await store.documents(COUNTERS).count(), ODD_KEYS.length - 3);
    });

    // The one order that memory, SQLite's BINARY and PostgreSQL's "C" collation share.
    it("are listed in the order of their keys' UTF-8 bytes", async () => {
      const { store, generation } = await open();
      await put(store, generation, new Map(ODD_KEYS.map((key) => [key, key])));
      assert.deepEqual(
        (await visible(store)).map(([key]) => key),
        inUtf8Order(ODD_KEYS),
      );
    });

    it('are listed by the page without loss or repetition: 5,000 put at once', async () => {
      const { store, generation } = await open();
      const keys = Array.from({ length: 5000 }, (_, index) => `key-${(index * 7919) % 5000}`);
      await put(store, generation, new Map(keys.map((key) => [key, { key }])));
      assert.equal(await store.documents(COUNTERS).count(), 5000);
      assert.deepEqual(
        await visible(store),
        inUtf8Order(keys).map((key) => [key, { key }]),
      );
      const found = await store.documents(COUNTERS).getMany(keys);
      assert.equal(found.size, 5000);
      await store.transaction(async (unit) => {
        const documents = unit.documents(COUNTERS, generation.generation);
        assert.equal((await documents.getMany(keys)).size, 5000);
        await documents.deleteMany(keys.slice(1));
      });
      assert.deepEqual(await visible(store), [['key-0', { key: 'key-0' }]]);
    });

    it('leave nothing open when their listing is left early', async () => {
      const { store, generation } = await open();
      await put(store, generation, new Map(Array.from({ length: 3000 }, (_, index) => [`${index}`, index])));
      for (let round = 0; round < 5; round++) {
        for await (const [, document] of store.documents(COUNTERS).entries()) if (document === 1) break;
      }
      await put(store, generation, { a: 1 });
      assert.equal(await store.documents(COUNTERS).count(), 3001);
    });

    it('that are no JSON are refused, with all of their transaction', async () => {
      const { store, generation } = await open();
      for (const odd of [undefined, 1n, () => 1]) {
        const error = await failure(SerializationError, 'SERIALIZATION', () =>
          put(store, generation, { good: 1, odd }),
        );
        assert.include(error.subject, 'odd');
      }
      assert.deepEqual(await visible(store), []);
    });

    it("are the same as a map's after random transactions, some of which fail", async () => {
      const key = fc.constantFrom('a', 'b', 'c', 'd');
      const step = fc.oneof(
        fc.record({ put: fc.array(fc.tuple(key, fc.jsonValue({ maxDepth: 1 })), { maxLength: 3 }) }),
        fc.record({ remove: fc.array(key, { maxLength: 3 }) }),
      );
      const transactions = fc.array(
        fc.record({ steps: fc.array(step, { maxLength: 4 }), fails: fc.boolean() }),
        {
          maxLength: 8,
        },
      );
      await fc.assert(
        fc.asyncProperty(transactions, async (all) => {
          const { store, generation } = await open();
          let model = new Map<string, unknown>();
          for (const { steps, fails } of all) {
            const next = new Map(model);
            const transaction = store.transaction(async (unit) => {
              const documents = unit.documents(COUNTERS, generation.generation);
              for (const one of steps) {
                if ('put' in one) {
                  await documents.putMany(new Map(one.put));
                  for (const [name, value] of new Map(one.put)) next.set(name, value);
                } else {
                  await documents.deleteMany(one.remove);
                  for (const name of one.remove) next.delete(name);
                }
                sameDocuments(await documents.getMany(['a', 'b', 'c', 'd']), next);
              }
              if (fails) throw new Error('undone');
            });
            await transaction.catch((error: unknown) => {
              if (!fails) throw error;
            });
            if (!fails) model = next;
            sameDocuments(new Map(await visible(store)), model);
          }
          await store.close();
        }),
        { numRuns: 25 },
      );
    });
  });
}

function sameDocuments(got: ReadonlyMap<string, unknown>, expected: ReadonlyMap<string, unknown>): void {
  const texts = (map: ReadonlyMap<string, unknown>): string[] =>
    [...map].map(([key, value]) => canonical([key, value])).sort();
  assert.deepEqual(texts(got), texts(expected));
}

/** NUL and lone surrogates, as JSON escapes them. */
const NOT_IN_JSONB = /\\u0000|\\ud[89a-f]/;

/** JSON with the keys of every object in one order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

function inUtf8Order(keys: readonly string[]): string[] {
  return keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}
