import { EventCodec, defineEvent } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';

const Happened = defineEvent('Happened', () => ({}));

describe('ids of new events', () => {
  it('are versions 7 of a uuid, all different, and grow within a millisecond', () => {
    const codec = new EventCodec([Happened]);
    const ids = Array.from({ length: 5000 }, () => codec.encode(Happened()).id ?? '');
    for (const id of ids)
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual(ids, ids.toSorted());
    const times = ids.map((id) => parseInt(id.replaceAll('-', '').slice(0, 12), 16));
    assert.closeTo(times.at(-1) ?? 0, Date.now(), 1000);
  });
});
