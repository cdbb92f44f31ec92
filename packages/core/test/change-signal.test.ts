import { ChangeSignal, StoreClosedError } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { getEventListeners } from 'node:events';

describe('ChangeSignal', () => {
  it('resolves at once when the head is beyond already', async () => {
    const signal = new ChangeSignal();
    signal.advance(5);
    assert.equal(await signal.beyond(4), 5);
    assert.equal(signal.waiting, 0);
  });

  it('wakes those who wait for less than the head, and lets the others wait', async () => {
    const signal = new ChangeSignal();
    const [near, far] = [signal.beyond(0), signal.beyond(7)];
    signal.advance(3);
    assert.equal(await near, 3);
    assert.equal(signal.waiting, 1);
    signal.advance(7);
    assert.equal(signal.waiting, 1);
    signal.advance(9);
    assert.equal(await far, 9);
    assert.equal(signal.waiting, 0);
  });

  it('never goes back', async () => {
    const signal = new ChangeSignal();
    signal.advance(5);
    signal.advance(2);
    assert.equal(await signal.beyond(0), 5);
  });

  it("rejects with the abort signal's reason and forgets the waiter", async () => {
    const signal = new ChangeSignal();
    const reason = new Error('enough');
    const aborted = await signal.beyond(0, AbortSignal.abort(reason)).catch((error: unknown) => error);
    assert.equal(aborted, reason);
    const controller = new AbortController();
    const waiting = signal.beyond(0, controller.signal).catch((error: unknown) => error);
    assert.equal(signal.waiting, 1);
    controller.abort(reason);
    assert.equal(await waiting, reason);
    assert.equal(signal.waiting, 0);
  });

  it('leaves no listener on an abort signal whose wait is over', async () => {
    const signal = new ChangeSignal();
    const controller = new AbortController();
    const listeners = (): number => getEventListeners(controller.signal, 'abort').length;
    const waiting = signal.beyond(0, controller.signal);
    assert.equal(listeners(), 1);
    signal.advance(1);
    await waiting;
    assert.equal(listeners(), 0);
  });

  it('rejects everyone when it is closed, and whoever comes later', async () => {
    const signal = new ChangeSignal();
    signal.advance(1);
    const waiting = signal.beyond(1).catch((error: unknown) => error);
    signal.close();
    assert.instanceOf(await waiting, StoreClosedError);
    assert.instanceOf(await signal.beyond(0).catch((error: unknown) => error), StoreClosedError);
    assert.equal(signal.waiting, 0);
  });

  it('rejects everyone who waits with the error that a look at the log met, and serves whoever comes later', async () => {
    const signal = new ChangeSignal();
    const damaged = new Error('damaged');
    const waiting = signal.beyond(0).catch((error: unknown) => error);
    signal.fail(damaged);
    assert.equal(await waiting, damaged);
    assert.equal(signal.waiting, 0);
    const later = signal.beyond(0);
    signal.advance(1);
    assert.equal(await later, 1);
  });
});
