import { sliceOf } from '@refold/core';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Effects } from './effects.js';

const SEQUENCE = 'account-0';
const whole = { firstSlice: 0, lastSlice: 1023 };
const asked = (life: number) => ({ life, asked: 1 });
const taken = (life: number, position: number) => ({ life, ...whole, taken: position, asked: 1 });
const done = (life: number, position: number) => ({ life, position, sequence: SEQUENCE });
const committed = (life: number, to: number) => ({ life, ...whole, to });

describe('what is said of effects', () => {
  it('allows a repeat by one who asked for its lease before the commit, however late it heard of it', () => {
    const lines = [asked(1), asked(2), taken(1, 6), done(1, 7), committed(1, 7), taken(2, 6), done(2, 7)];
    const effects = new Effects(lines);
    expect(effects.repeats).to.equal(1);
    expect(effects.repeatsOfCommitted()).to.deep.equal([]);
  });

  it('names a repeat by one who asked for its lease behind the commit', () => {
    const lines = [asked(1), taken(1, 6), done(1, 7), committed(1, 7), asked(2), taken(2, 6), done(2, 7)];
    expect(new Effects(lines).repeatsOfCommitted()).to.deep.equal([
      'position 7 of account-0 was repeated by process 2, whose lease began behind the commit up to 7 of process 1',
    ]);
  });

  it('leaves out dead letters, and other partitions', () => {
    const slice = sliceOf(SEQUENCE);
    const elsewhere = { life: 1, firstSlice: slice + 1, lastSlice: 1023, to: 7 };
    const lines = [asked(1), taken(1, 6), done(1, 7), elsewhere, asked(2), taken(2, 6), done(2, 7)];
    expect(new Effects(lines).repeatsOfCommitted()).to.deep.equal([]);
    const parked = [...lines.slice(0, 3), { life: 1, parked: 7 }, committed(1, 7), ...lines.slice(4)];
    expect(new Effects(parked).repeatsOfCommitted()).to.deep.equal([]);
  });
});
