import { sliceOf, SLICES } from '@refold/core';
import { assert } from 'chai';
import fc from 'fast-check';
import { describe, it } from 'mocha';

/** FNV-1a as its RFC writes it, in whole numbers of any size. */
function fnv1a(key: string): bigint {
  let hash = 2166136261n;
  for (const byte of new TextEncoder().encode(key)) hash = ((hash ^ BigInt(byte)) * 16777619n) % 2n ** 32n;
  return hash;
}

describe('sliceOf', () => {
  it('is what it was in every release: stored checkpoints depend on it', () => {
    // Computed by another program, in another language.
    const slices = {
      '': 738,
      a: 550,
      foobar: 598,
      'order-1': 670,
      'order-42': 997,
      'bestellung-ä': 897,
      '注文-🛒': 1017,
      ['x'.repeat(1000)]: 261,
    };
    for (const [key, slice] of Object.entries(slices)) assert.equal(sliceOf(key), slice, key);
  });

  it('is the folded FNV-1a hash of any key', () => {
    // The published hashes of "a" and "foobar".
    assert.equal(fnv1a('a'), 0xe40c292cn);
    assert.equal(fnv1a('foobar'), 0xbf9cf968n);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (key) => {
        const hash = fnv1a(key);
        assert.equal(BigInt(sliceOf(key)), ((hash >> 10n) ^ hash) % 1024n);
      }),
    );
  });

  it('spreads numbered, random and lettered streams roughly evenly', () => {
    const perSlice = 100;
    const kinds: Readonly<Record<string, (index: number) => string>> = {
      numbered: (index) => `order-${index}`,
      padded: (index) => `customer-${String(index).padStart(10, '0')}`,
      scattered: (index) => `cart-${(index * 2654435761) >>> 0}-${index.toString(36)}`,
    };
    for (const [kind, keyOf] of Object.entries(kinds)) {
      const counts = new Array<number>(SLICES).fill(0);
      for (let index = 0; index < SLICES * perSlice; index++) {
        const slice = sliceOf(keyOf(index));
        counts[slice] = (counts[slice] ?? assert.fail(`slice ${slice}`)) + 1;
      }
      assert.isAbove(Math.min(...counts), perSlice * 0.4, `${kind}: the emptiest slice`);
      assert.isBelow(Math.max(...counts), perSlice * 1.8, `${kind}: the fullest slice`);
      for (let quarter = 0; quarter < 4; quarter++) {
        const sum = counts.slice(quarter * 256, (quarter + 1) * 256).reduce((a, b) => a + b);
        assert.approximately(sum / (256 * perSlice), 1, 0.05, `${kind}: quarter ${quarter}`);
      }
    }
  });
});
