import { receiveWebhook, webhookTransport, type ReceivedMessage, type WebhookMode } from '@refold/core';
import { transportConformance } from '@refold/testing/conformance';
import { Endpoint, SECRET } from './endpoint.js';

for (const mode of ['binary', 'structured'] satisfies WebhookMode[]) {
  transportConformance({
    name: `webhooks in ${mode} mode`,
    open: async () => {
      const endpoint = await new Endpoint().start();
      const received = new Map<string, ReceivedMessage[]>();
      endpoint.answer = ({ headers, body, path }) => {
        if (headers['x-rejected']) return 422;
        const topic = path.split('/').at(-1) ?? '';
        const message = receiveWebhook({ headers, body, secret: SECRET, topic });
        received.set(topic, [...(received.get(topic) ?? []), message]);
        return 202;
      };
      const transport = webhookTransport({
        url: ({ topic }) => new URL(topic, endpoint.url).href,
        ...{ secret: SECRET, mode, allowPrivateNetworks: true, whenUnavailable: 'wait' },
        circuit: { openMs: 20 },
      });
      return {
        transport,
        received: (topic) => Promise.resolve(received.get(topic) ?? []),
        rejected: (message) => ({ ...message, headers: { ...message.headers, 'x-rejected': 'yes' } }),
        break: () => endpoint.stop(),
        mend: async () => void (await endpoint.start()),
        close: () => endpoint.stop(),
      };
    },
  });
}
