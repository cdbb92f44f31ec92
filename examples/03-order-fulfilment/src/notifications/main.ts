import { delivery, documentProjection, receiver } from '@refold/core';
import { injected, readModelOf } from '@refold/inversify';
import { TellCustomer } from '../contract.js';
import { runService } from '../service/service.js';
import { BusyMailServer, Mailman, MailServer, NoticeDesk } from './mailman.js';
import { CustomerTold, Notice } from './notice.js';

/** How often each customer was told. */
const told = documentProjection('told', { initial: () => ({ times: 0 }) }).on(CustomerTold, ({ times }) => ({
  times: times + 1,
}));

const mails = delivery('mails', { retry: { firstDelayMs: 20 } }).on(CustomerTold, injected(Mailman));

const mailServer = new BusyMailServer();

await runService({
  name: 'notifications',
  module: { aggregates: [Notice], projections: [told], deliveries: [mails] },
  bind: (container) => container.bind(MailServer).toConstantValue(mailServer),
  receiver: receiver('messages').on(TellCustomer, injected(NoticeDesk, 'tell')),
  questions: (container, app) => ({
    books: async () => {
      await app.waitFor(told, await app.head());
      let [once, oftener] = [0, 0];
      for await (const [, { times }] of container.get(readModelOf(told)).entries()) {
        if (times === 1) once += 1;
        else oftener += 1;
      }
      return { once, oftener, mailed: mailServer.sent, busy: mailServer.busy };
    },
  }),
});
