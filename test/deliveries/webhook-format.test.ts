import {
  DefinitionError,
  newWebhookSecret,
  receiveWebhook,
  verifyWebhook,
  WebhookFormatError,
  WebhookSignatureError,
  webhookTransport,
  type Message,
  type WebhookMode,
} from '@refold/core';
import { expect } from 'chai';
import { HTTP } from 'cloudevents';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { Endpoint, message, never, SECRET, type Arrived } from './endpoint.js';

/** The example of the Standard Webhooks specification. */
const VECTOR = {
  headers: {
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  },
  body: '{"test": 2432232314}',
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  clock: { now: () => 1_614_265_330_000 },
};

function problemOf(check: () => unknown): string {
  try {
    check();
  } catch (error) {
    if (error instanceof WebhookSignatureError) return error.problem;
    throw error;
  }
  return 'none';
}

describe('the signature of webhooks', () => {
  it('is that of the specification', () => {
    expect(verifyWebhook(VECTOR)).to.equal('msg_p5jXN8AQM9LWM0D4loKWxJek');
  });

  it('does not hold for another body, id, time or secret', () => {
    const { headers } = VECTOR;
    expect(problemOf(() => verifyWebhook({ ...VECTOR, body: '{"test": 2432232315}' }))).to.equal('mismatch');
    expect(problemOf(() => verifyWebhook({ ...VECTOR, secret: newWebhookSecret() }))).to.equal('mismatch');
    for (const [name, value] of [
      ['webhook-id', 'msg_2'],
      ['webhook-timestamp', '1614265331'],
      ['webhook-signature', 'v1,'],
      ['webhook-signature', headers['webhook-signature'].replace('v1,', 'v2,')],
    ] as const) {
      const changed = { ...VECTOR, headers: { ...headers, [name]: value } };
      expect(
        problemOf(() => verifyWebhook(changed)),
        name,
      ).to.equal('mismatch');
    }
  });

  it('holds for five minutes on either side, or as long as one says', () => {
    const at = (ms: number): object => ({ clock: { now: () => 1_614_265_330_000 + ms } });
    expect(problemOf(() => verifyWebhook({ ...VECTOR, ...at(300_000) }))).to.equal('none');
    expect(problemOf(() => verifyWebhook({ ...VECTOR, ...at(300_001) }))).to.equal('expired');
    expect(problemOf(() => verifyWebhook({ ...VECTOR, ...at(-300_001) }))).to.equal('expired');
    expect(problemOf(() => verifyWebhook({ ...VECTOR, ...at(1001), toleranceMs: 1000 }))).to.equal('expired');
    for (const time of ['', 'soon', '-1', '1e9', 'NaN']) {
      const headers = { ...VECTOR.headers, 'webhook-timestamp': time };
      expect(problemOf(() => verifyWebhook({ ...VECTOR, headers }))).to.equal(
        time === '' ? 'missing' : 'expired',
      );
    }
  });

  it('is missed by name, whatever the case of the headers and however they come', () => {
    for (const name of Object.keys(VECTOR.headers)) {
      const headers = { ...VECTOR.headers, [name]: undefined };
      expect(() => verifyWebhook({ ...VECTOR, headers }))
        .to.throw(WebhookSignatureError, name)
        .with.property('problem', 'missing');
    }
    const upper = Object.entries(VECTOR.headers).map(([name, value]) => [name.toUpperCase(), value] as const);
    expect(verifyWebhook({ ...VECTOR, headers: Object.fromEntries(upper) })).to.match(/^msg_/);
    expect(verifyWebhook({ ...VECTOR, headers: new Headers(VECTOR.headers) })).to.match(/^msg_/);
  });

  it('is made with nothing but a secret, which an error does not repeat', () => {
    for (const secret of [
      '',
      'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'whsec_c2hvcnQ=',
      'whsec_!fKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    ]) {
      expect(() => webhookTransport({ url: 'https://example.com', secret })).to.throw(
        DefinitionError,
        /^((?!fKQ9).)*24 to 64 bytes((?!fKQ9).)*$/,
      );
    }
    expect(() => webhookTransport({ url: 'https://example.com', secret: [] })).to.throw(
      DefinitionError,
      'no secret',
    );
  });
});

describe('a webhook', () => {
  let endpoint: Endpoint;
  beforeEach(async () => {
    endpoint = await new Endpoint().start();
  });
  afterEach(() => endpoint.stop());

  async function sent(
    given: Message,
    mode: WebhookMode,
    secret: string | string[] = SECRET,
  ): Promise<Arrived> {
    const transport = webhookTransport({ url: endpoint.url, secret, mode });
    const { failures } = await transport.send([given], never());
    await transport.close();
    expect(failures).to.deep.equal([]);
    const arrived = endpoint.requests.at(-1);
    if (!arrived) throw new Error('Nothing has arrived');
    return arrived;
  }

  for (const mode of ['binary', 'structured'] as const) {
    it(`in ${mode} mode is verified by the reference implementation, and by ours`, async () => {
      const { headers, body } = await sent(message(1), mode);
      const asText = headers as Record<string, string>;
      expect(() => new Webhook(SECRET).verify(body.toString(), asText)).not.to.throw();
      expect(verifyWebhook({ headers, body, secret: SECRET })).to.equal(message(1).attributes.id);
      expect(headers['webhook-id']).to.equal(message(1).attributes.id);
    });

    it(`in ${mode} mode is the CloudEvent that the reference implementation reads`, async () => {
      const { headers, body } = await sent(message(7), mode);
      const event = HTTP.toEvent({ headers, body: body.toString() });
      expect(event).not.to.be.an('array');
      const { data, datacontenttype, ...attributes } = JSON.parse(JSON.stringify(event)) as Record<
        string,
        unknown
      >;
      const { datacontenttype: contentType, ...expected } = message(7).attributes;
      expect({ ...attributes }).to.deep.include(expected);
      expect([data, datacontenttype]).to.deep.equal([{ index: 7 }, contentType]);
    });

    it(`in ${mode} mode arrives as it was sent, whatever is in it`, async () => {
      const text = fc.string({ unit: 'grapheme' }).filter((one) => one !== '');
      await fc.assert(
        fc.asyncProperty(text, text, fc.json(), async (subject, key, json) => {
          const given = message(3, { key, body: Buffer.from(json), headers: { 'X-Tenant': 'acme' } });
          const attributes = { ...given.attributes, subject, traceparent: undefined };
          const { headers, body } = await sent({ ...given, attributes }, mode);
          const received = receiveWebhook({ headers, body, secret: SECRET, topic: 'in' });
          expect(received.payload).to.deep.equal(JSON.parse(json));
          expect(received.key).to.equal(key);
          expect(received.topic).to.equal('in');
          expect(received.sequence).to.equal('0000000000000003');
          expect(received.headers['x-tenant']).to.equal('acme');
          expect(received.attributes).to.deep.equal(JSON.parse(JSON.stringify(attributes)));
        }),
        { numRuns: 50 },
      );
    });

    it(`in ${mode} mode carries bytes, and nothing`, async () => {
      const bytes = Buffer.from([0, 255, 128, 10]);
      const given = message(4, { body: bytes });
      const binary = { ...given, attributes: { ...given.attributes, datacontenttype: 'image/png' } };
      const withBytes = await sent(binary, mode);
      expect(receiveWebhook({ ...withBytes, secret: SECRET }).payload).to.deep.equal(bytes);
      const none = {
        ...given,
        body: new Uint8Array(0),
        attributes: { ...given.attributes, datacontenttype: undefined },
      };
      const empty = receiveWebhook({ ...(await sent(none, mode)), secret: SECRET });
      expect(empty.payload).to.equal(undefined);
    });
  }

  it('is signed with every secret while one replaces another', async () => {
    const [old, fresh, other] = [newWebhookSecret(), newWebhookSecret(), newWebhookSecret()];
    const { headers, body } = await sent(message(1), 'binary', [fresh, old]);
    for (const secret of [old, fresh, [other, old]]) verifyWebhook({ headers, body, secret });
    expect(problemOf(() => verifyWebhook({ headers, body, secret: other }))).to.equal('mismatch');
  });

  it('with another id than the signed one is not received', async () => {
    const { headers, body } = await sent(message(1), 'binary');
    const again = { ...headers, 'ce-id': message(2).attributes.id };
    expect(problemOf(() => receiveWebhook({ headers: again, body, secret: SECRET }))).to.equal('mismatch');
  });

  it('that is no CloudEvent is received with what it has', () => {
    const received = receiveWebhook({ ...VECTOR, topic: '/in' });
    expect(received.id).to.equal('msg_p5jXN8AQM9LWM0D4loKWxJek');
    expect(received.payload).to.deep.equal({ test: 2432232314 });
    expect(received.attributes.time).to.equal('2021-02-25T15:02:10.000Z');
    expect([received.type, received.source]).to.deep.equal(['/in', '/in']);
  });

  it('is refused when it is signed but cannot be read', () => {
    const read = (headers: Record<string, string>, body: string): unknown =>
      receiveWebhook({ headers, body, secret: false });
    const structured = { 'content-type': 'application/cloudevents+json' };
    for (const [headers, body, why] of [
      [{ 'ce-specversion': '2.0', 'ce-id': '1' }, '{}', 'version 2.0'],
      [{ 'ce-specversion': '1.0', 'ce-id': '1', 'content-type': 'application/json' }, '{', 'not the JSON'],
      [{ 'ce-specversion': '1.0' }, '{}', 'no id'],
      [structured, '{', 'not the JSON'],
      [structured, '[]', 'no object'],
      [structured, '{"id":"1"}', 'version 1.0'],
      [structured, '{"specversion":"1.0","id":"1","ext":{}}', 'attribute ext'],
      [{ 'content-type': 'application/cloudevents-batch+json' }, '[]', 'only application/cloudevents+json'],
    ] as const) {
      expect(() => read(headers, body)).to.throw(WebhookFormatError, why);
    }
  });
});
