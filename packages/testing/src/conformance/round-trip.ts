import type { EventStore } from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { newEvent } from './expectations.js';
import { useStores, type StoreHarness } from './harness.js';

/** JSON that stores garble; the conformance suites for documents use it too. */
export const ODD_VALUES: readonly (readonly [title: string, value: unknown])[] = [
  ['null', null],
  ['false', false],
  ['zero', 0],
  ['an empty string', ''],
  ['an empty object', {}],
  ['an empty array', []],
  ['a string on its own', 'text'],
  ['a number on its own', -1.5e-7],
  ['the largest safe integer', Number.MAX_SAFE_INTEGER],
  ['the largest and the smallest number', [Number.MAX_VALUE, Number.MIN_VALUE, -Number.MAX_VALUE]],
  ['numbers that floats write long', [0.1, 1 / 3, 1e21, 123456789012345680000, 5e-324]],
  ['nested arrays', [[[[]], [1, [2, [3]]]], null]],
  ['emoji', '👩‍👩‍👧‍👦 🏳️‍🌈 🇪🇺'],
  ['text in many scripts', 'Ærøskøbing 東京 القاهرة Ελλάδα हिन्दी'],
  ['an accent composed and decomposed', ['\u00e9', 'e\u0301']],
  ['NUL in a string', 'a\u0000b'],
  ['control characters', '\u0001\b\t\n\v\f\r\u001f\u007f\u0085\u2028\u2029\ufeff'],
  ['lone surrogates', ['\ud800', 'a\udfffb', '\udc00\ud800']],
  ['quotes and backslashes', `"'\\\\" \\u0041 \${x} {{y}} %s ? $1 :name`],
  ['a key __proto__', JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": 1}}')],
  ['odd keys', { '': 1, ' ': 2, '\u0000': 3, 'a.b': 4, '1': 5, '🔑': 6, "'": 7, '"': 8 }],
  ['keys in their order', { z: 1, a: 2, m: 3 }],
  ['a long string', 'x'.repeat(100_000)],
];

/** What goes in comes out. */
export function describeRoundTrip(harness: StoreHarness<EventStore>): void {
  describe('data and metadata', () => {
    const stores = useStores(harness);

    it('come back as they went in, however odd', async () => {
      const store = await stores.open();
      await store.append(
        'odd-1',
        ODD_VALUES.map(([, value]) => newEvent({ data: value, metadata: { value, correlationId: 'c' } })),
      );
      for (const events of [await store.readStream('odd-1').toArray(), await store.readAll().toArray()]) {
        ODD_VALUES.forEach(([title, value], index) => {
          // Compared as text, which also compares the order of keys, and a key __proto__.
          assert.equal(JSON.stringify(events[index]?.data), JSON.stringify(value), `data: ${title}`);
          assert.equal(
            JSON.stringify(events[index]?.metadata),
            JSON.stringify({ value, correlationId: 'c' }),
            `metadata: ${title}`,
          );
        });
      }
      assert.notProperty({}, 'polluted');
    });

    it('come back as they went in, whatever JSON they are', async () => {
      const store = await stores.open();
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(fc.jsonValue(), { minLength: 1, maxLength: 5 }), async (values) => {
          const stream = `any-${run++}`;
          const events = values.map((value) => newEvent({ data: value, metadata: { value } }));
          await store.append(stream, events);
          const read = await store.readStream(stream).toArray();
          assert.deepEqual(
            read.map(({ data, metadata }) => JSON.stringify([data, metadata.value])),
            values.map((value) => JSON.stringify([value, value])),
          );
        }),
        { numRuns: 40 },
      );
    });

    it('come back in what JSON makes of dates, undefined properties and toJSON', async () => {
      const store = await stores.open();
      const data = {
        at: new Date(0),
        gone: undefined,
        list: [undefined],
        own: { toJSON: () => 'own' },
        nan: NaN,
      };
      await store.append('odd-1', [newEvent({ data })]);
      const [event] = await store.readStream('odd-1').toArray();
      assert.deepEqual(event?.data, {
        at: '1970-01-01T00:00:00.000Z',
        list: [null],
        own: 'own',
        nan: null,
      });
    });

    it('come with stream and type names in any script, however long', async () => {
      const store = await stores.open();
      const names = [
        'bestellung-ä',
        '注文-🛒',
        'o\'rder-"1"',
        'a b-c d',
        '%-_',
        'x'.repeat(256),
        '-',
        'a--b',
      ];
      for (const name of names) await store.append(name, [newEvent({ type: name, data: name })]);
      await store.append(`long-${'y'.repeat(507)}`, [newEvent()]);
      for (const name of names) {
        const [event, ...more] = await store.readStream(name).toArray();
        assert.include(event, { stream: name, type: name, data: name });
        assert.isEmpty(more);
        assert.lengthOf(await store.readAll({ filter: { types: [name] } }).toArray(), 1);
      }
      assert.lengthOf(await store.readStream(`long-${'y'.repeat(507)}`).toArray(), 1);
    });
  });
}
