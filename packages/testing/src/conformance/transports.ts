import { MessageRejectedError, TransportUnavailableError, type SendFailure } from '@refold/core';
import { assert } from 'chai';
import { describe, it } from 'mocha';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  accepted,
  arrived,
  arrivedOnce,
  assertInOrder,
  itCan,
  never,
  newMessage,
  newMessages,
  resultOf,
  sendUntilAccepted,
  useTransports,
  type TransportHarness,
} from './transport-harness.js';

/** Declares the tests of what every `Transport` promises. */
export function transportConformance(harness: TransportHarness): void {
  describe(`${harness.name}: a transport`, () => {
    describeArrival(harness);
    describeOrder(harness);
    describeRejection(harness);
    describeBreaking(harness);
    describeEnding(harness);
  });
}

function describeArrival(harness: TransportHarness): void {
  const opened = useTransports(harness);

  it('brings a message with its attributes, headers, topic and key', async () => {
    const { transport, topic, received } = await opened();
    const message = newMessage(topic, {
      key: 'order-17',
      payload: { customer: 'Åse – 愛', lines: [{ amount: 1.5 }], none: null },
      headers: { 'x-tenant': 'north', 'x-empty': '' },
      attributes: {
        ...{
          correlationid: 'c-1',
          causationid: 'e-0',
          dataversion: '3',
          streamrevision: '4',
          replayed: 'true',
        },
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        tenant: 'north',
      },
    });
    await accepted(transport, [message]);
    const [one] = await arrived({ received }, topic, 1);
    assert.isDefined(one);
    assert.deepEqual(defined(one.attributes), defined(message.attributes));
    assert.deepInclude(one.headers, message.headers);
    assert.deepEqual(one.payload, { customer: 'Åse – 愛', lines: [{ amount: 1.5 }], none: null });
    const { id, source, type, sequence } = message.attributes;
    const wanted = {
      id,
      source,
      type,
      topic,
      key: 'order-17',
      sequence,
      correlationId: 'c-1',
      causationId: 'e-0',
    };
    for (const [name, value] of Object.entries(wanted)) assert.propertyVal(one, name, value);
  });

  it('brings text in attributes and keys that is not ASCII', async () => {
    const { transport, topic, received } = await opened();
    const message = newMessage(topic, {
      key: 'order-Ærø 愛 100%',
      attributes: { subject: 'order-Ærø 愛 "100%25"', type: 'Bestellung aufgegeben: größer' },
    });
    await accepted(transport, [message]);
    const [one] = await arrived({ received }, topic, 1);
    assert.equal(one?.key, message.key);
    assert.deepEqual(defined(one?.attributes ?? {}), defined(message.attributes));
  });

  it('brings bytes as they are, and no payload as none', async () => {
    const { transport, topic, received } = await opened();
    const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 7) % 256);
    const binary = { datacontenttype: 'application/octet-stream' };
    await accepted(transport, [
      newMessage(topic, { body: bytes, attributes: binary }),
      newMessage(topic, { body: new Uint8Array(0), attributes: { datacontenttype: undefined } }),
      newMessage(topic, { payload: 'text', attributes: { datacontenttype: 'application/vnd.shop+json' } }),
    ]);
    const [one, two, three] = await arrived({ received }, topic, 3);
    assert.instanceOf(one?.payload, Uint8Array);
    assert.isTrue(Buffer.from(bytes).equals(one?.payload), 'the bytes');
    assert.isUndefined(two?.payload);
    assert.equal(three?.payload, 'text');
  });

  it('brings messages of one batch to their topics', async () => {
    const { transport, topic, other, received } = await opened();
    const batch = [newMessage(topic), newMessage(other), newMessage(topic)];
    await accepted(transport, batch);
    assertInOrder(
      await arrived({ received }, topic, 2),
      batch.filter((one) => one.topic === topic),
    );
    assertInOrder(
      await arrived({ received }, other, 1),
      batch.filter((one) => one.topic === other),
    );
  });

  it('has nothing to say of an empty batch', async () => {
    const { transport, topic, received } = await opened();
    assert.deepEqual(await transport.send([], never), { failures: [] });
    assert.deepEqual(await received(topic), []);
  });

  it('names itself without secrets, and offers to send exactly once only if it can', async () => {
    const { transport } = await opened();
    assert.isNotEmpty(transport.name);
    assert.notMatch(transport.name, /\/\/[^/]*:[^/]*@/);
    assert.equal(transport.supports.exactlyOnce, transport.open !== undefined);
  });
}

function describeOrder(harness: TransportHarness): void {
  const opened = useTransports(harness);

  it('keeps the order of every key over many batches, and brings each message once', async () => {
    const { transport, topic, received } = await opened();
    const messages = newMessages(topic, 1_000, ['a', 'b', 'c', 'd', 'e', 'f', 'g']);
    for (let start = 0; start < messages.length; start += 50) {
      await accepted(transport, messages.slice(start, start + 50));
    }
    assertInOrder(await arrived({ received }, topic, messages.length), messages);
  });

  it('sends several batches at once, each in order', async () => {
    const { transport, topic, received } = await opened();
    const batches = Array.from({ length: 8 }, (_, place) =>
      newMessages(topic, 100, [`a${place}`, `b${place}`]),
    );
    await Promise.all(batches.map((batch) => accepted(transport, batch)));
    assertInOrder(await arrived({ received }, topic, 800), batches.flat());
  });
}

function describeRejection(harness: TransportHarness): void {
  const opened = useTransports(harness);

  itCan(
    harness,
    'rejecting',
    'reports the one message that is rejected, and accepts its neighbours',
    async () => {
      const { transport, topic, received, rejected } = await opened();
      assert(rejected, 'the harness can make a message that is rejected');
      const batch = newMessages(topic, 5, ['a', 'b', 'c', 'd', 'e']);
      const sent = batch.map((one, index) => (index === 2 ? rejected(one) : one));
      const { failures } = await transport.send(sent, never);
      assert.deepEqual(
        failures.map(({ index }) => index),
        [2],
      );
      assertRejected(failures[0], transport.name, batch[2]?.attributes.id);
      assertInOrder(
        await arrived({ received }, topic, 4),
        batch.filter((_, index) => index !== 2),
      );
    },
  );

  itCan(harness, 'holdingBack', 'accepts nothing of a key behind a message that is rejected', async () => {
    const { transport, topic, received, rejected } = await opened();
    assert(rejected, 'the harness can make a message that is rejected');
    const batch = newMessages(topic, 9, ['a', 'b', 'c']);
    const sent = batch.map((one, index) => (index === 4 ? rejected(one) : one));
    const { failures } = await transport.send(sent, never);
    assert.deepEqual(failures.map(({ index }) => index).sort(), [4, 7]);
    assertRejected(
      failures.find(({ index }) => index === 4),
      transport.name,
      batch[4]?.attributes.id,
    );
    assert.isUndefined(failures.find(({ index }) => index === 7)?.error, 'it was not tried');
    const rest = batch.filter((_, index) => index === 4 || index === 7);
    await accepted(transport, rest);
    assertInOrder(await arrived({ received }, topic, 9), batch);
  });

  itCan(harness, 'rejecting', 'goes on after a batch of which nothing was accepted', async () => {
    const { transport, topic, received, rejected } = await opened();
    assert(rejected, 'the harness can make a message that is rejected');
    const batch = newMessages(topic, 3, ['a', 'b', 'c']);
    const { failures } = await transport.send(batch.map(rejected), never);
    assert.lengthOf(failures, 3);
    for (const failure of failures)
      assertRejected(failure, transport.name, batch[failure.index]?.attributes.id);
    await accepted(transport, batch);
    assertInOrder(await arrived({ received }, topic, 3), batch);
  });
}

function describeBreaking(harness: TransportHarness): void {
  const opened = useTransports(harness);

  itCan(harness, 'breaking', 'is not available while it cannot connect, and then goes on', async () => {
    const { transport, topic, received, break: cut, mend } = await opened();
    assert(cut && mend, 'the harness can break connections');
    const messages = newMessages(topic, 30, ['a', 'b', 'c']);
    await accepted(transport, messages.slice(0, 10));
    await cut();
    const { failures } = await resultOf(transport, messages.slice(10, 20));
    assert.isNotEmpty(failures);
    for (const { error } of failures)
      if (error !== undefined) assert.instanceOf(error, TransportUnavailableError);
    assert.instanceOf(failures[0]?.error, TransportUnavailableError);
    await mend();
    await sendUntilAccepted(transport, messages.slice(10));
    assertInOrder(await arrivedOnce({ received }, topic, 30), messages);
  });

  itCan(
    harness,
    'breaking',
    'loses nothing and keeps the order when it breaks in the midst of sending',
    async () => {
      const { transport, topic, received, break: cut, mend } = await opened();
      assert(cut && mend, 'the harness can break connections');
      const messages = newMessages(topic, 4_000, ['a', 'b', 'c', 'd', 'e']);
      const done = (async () => {
        for (let start = 0; start < messages.length; start += 200) {
          await sendUntilAccepted(transport, messages.slice(start, start + 200));
        }
      })();
      await arrived({ received }, topic, 200);
      await cut();
      await mend();
      await done;
      assertInOrder(await arrivedOnce({ received }, topic, messages.length), messages);
    },
  );

  itCan(harness, 'breaking', 'stops trying to connect when told to', async () => {
    const { transport, topic, break: cut, mend } = await opened();
    assert(cut && mend, 'the harness can break connections');
    await cut();
    const controller = new AbortController();
    const sending = resultOf(transport, [newMessage(topic)], controller.signal);
    await sleep(20);
    controller.abort();
    const { failures } = await sending;
    assert.instanceOf(failures[0]?.error, TransportUnavailableError);
    await mend();
  });
}

function describeEnding(harness: TransportHarness): void {
  const opened = useTransports(harness);

  it('begins nothing for a signal that has aborted', async () => {
    const { transport, topic, received } = await opened();
    const { failures } = await resultOf(
      transport,
      newMessages(topic, 3, ['a', 'b', 'c']),
      AbortSignal.abort(),
    );
    assert.lengthOf(failures, 3);
    for (const { error } of failures) assert.instanceOf(error, TransportUnavailableError);
    const last = newMessage(topic);
    await accepted(transport, [last]);
    assertInOrder(await arrived({ received }, topic, 1), [last]);
  });

  it('tells when it is told to stop what was accepted until then', async () => {
    const { transport, topic, received } = await opened();
    await accepted(transport, [newMessage(topic)]);
    const messages = newMessages(topic, 2_000, ['a', 'b', 'c']);
    const controller = new AbortController();
    const sending = resultOf(transport, messages, controller.signal);
    setImmediate(() => controller.abort());
    const { failures } = await sending;
    const failed = new Set(failures.map(({ index }) => index));
    const sent = messages.filter((_, index) => !failed.has(index)).map(({ attributes }) => attributes.id);
    const ids = new Set((await arrived({ received }, topic, sent.length + 1)).map(({ id }) => id));
    assert.deepEqual(
      sent.filter((id) => !ids.has(id)),
      [],
    );
    for (const { error } of failures)
      if (error !== undefined) assert.instanceOf(error, TransportUnavailableError);
  });

  it('can be closed more than once, unused too, and sends nothing any more', async () => {
    const unused = await opened();
    await unused.transport.close();
    await unused.transport.close();
    const { transport, topic, received } = await opened();
    await accepted(transport, [newMessage(topic)]);
    await Promise.all([transport.close(), transport.close()]);
    await transport.close();
    const { failures } = await resultOf(transport, [newMessage(topic)]);
    assert.lengthOf(failures, 1);
    assert.instanceOf(failures[0]?.error, TransportUnavailableError);
    assert.lengthOf(await arrived({ received }, topic, 1), 1);
  });
}

function assertRejected(failure: SendFailure | undefined, name: string, id: string | undefined): void {
  const error = failure?.error;
  assert.instanceOf(error, MessageRejectedError);
  assert.equal(error.transport, name);
  assert.equal(error.messageId, id);
  assert.isNotEmpty(error.topic);
}

/** Without what is undefined: it does not travel. */
function defined(
  attributes: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
