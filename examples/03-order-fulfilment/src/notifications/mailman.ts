import type { RecordedEvent, ReceivedEvent, ReceiverContext, Repository } from '@refold/core';
import { repositoryOf } from '@refold/inversify';
import { inject, injectable } from 'inversify';
import type { TellCustomer } from '../contract.js';
import { Notice, type CustomerTold } from './notice.js';

/** A mail server that takes a mail, once for each key, or is busy. */
export abstract class MailServer {
  abstract send(key: string, to: string, text: string): Promise<void>;
}

/** A mail server that is busy at every tenth call, and counts. */
@injectable()
export class BusyMailServer extends MailServer {
  readonly #mails = new Map<string, number>();
  busy = 0;
  #calls = 0;

  get sent(): number {
    return this.#mails.size;
  }

  send(key: string): Promise<void> {
    this.#calls += 1;
    if (this.#calls % 10 === 0) {
      this.busy += 1;
      return Promise.reject(new Error('421 too busy, try again'));
    }
    this.#mails.set(key, (this.#mails.get(key) ?? 0) + 1);
    return Promise.resolve();
  }
}

@injectable()
export class NoticeDesk {
  constructor(@inject(repositoryOf(Notice)) private readonly notices: Repository<Notice>) {}

  async tell(
    { data: { order, customer, text } }: ReceivedEvent<TellCustomer>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    await this.notices.create(order, (notice) => notice.tell(customer, text), { transaction: unit });
  }
}

/** Carries mails to the mail server: in this process, at least once. The event's id lets the server leave out repeats. */
@injectable()
export class Mailman {
  constructor(@inject(MailServer) private readonly server: MailServer) {}

  handle({ id, data }: RecordedEvent<CustomerTold>): Promise<void> {
    return this.server.send(id, data.customer, data.text);
  }
}
