import { delivery, documentProjection, receiver } from '@refold/core';
import { injected, injectedTransport, readModelOf } from '@refold/inversify';
import { ChargeCard, PaymentDeclined, PaymentRefunded, PaymentTaken, RefundPayment } from '../contract.js';
import { outgoing, runService } from '../service/service.js';
import { wireTo } from '../service/wires.js';
import { Bank, CautiousBank, PaymentDesk } from './payment-desk.js';
import { Payment } from './payment.js';

const ledger = documentProjection('ledger', {
  initial: () => ({ taken: 0, refunded: 0 }),
  key: () => 'all',
})
  .on(PaymentTaken, (sums, { data }) => ({ ...sums, taken: sums.taken + data.cents }))
  .on(PaymentRefunded, (sums, { data }) => ({ ...sums, refunded: sums.refunded + data.cents }));

const answers = delivery('answers', { ...outgoing('orders'), transport: injectedTransport(wireTo('orders')) })
  .on(PaymentTaken)
  .on(PaymentDeclined)
  .on(PaymentRefunded);

await runService({
  name: 'payments',
  module: { aggregates: [Payment], projections: [ledger], deliveries: [answers] },
  bind: (container) => container.bind(Bank).to(CautiousBank).inSingletonScope(),
  receiver: receiver('messages')
    .on(ChargeCard, injected(PaymentDesk, 'charge'))
    .on(RefundPayment, injected(PaymentDesk, 'refund')),
  questions: (container, app) => ({
    books: async () => {
      await app.waitFor(ledger, await app.head());
      return (await container.get(readModelOf(ledger)).get('all')) ?? { taken: 0, refunded: 0 };
    },
  }),
});
