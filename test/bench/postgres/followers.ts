import { createApplication, delivery, documentProjection, EventCodec } from '@refold/core';
import { postgresStore } from '@refold/postgres';
import { Deposited, emptyStatement, fold, Withdrawn, type Movement } from '../accounts.js';
import type { Emmett } from './emmett.js';
import type { Logs } from './logs.js';

/** Appends at one end of the database, and handles what is appended at the other. */
export interface Follower {
  append(stream: string, event: Deposited | Withdrawn): Promise<unknown>;
  close(): Promise<unknown>;
}

/** Begins to follow; `handled` is called at the beginning of the handler of every event, with its reference. */
export type Open = (name: string, handled: (reference: string) => void) => Promise<Follower>;

/** A worker with a document projection; another store appends, so that both meet in the database only. */
export function followOurs({ url }: Logs): Open {
  const codec = new EventCodec([Deposited, Withdrawn]);
  return async (name, handled) => {
    const writer = await postgresStore(url);
    const store = await postgresStore(url);
    const projection = documentProjection(name, { initial: emptyStatement })
      .on(Deposited, (statement, { data }) => {
        handled(data.reference);
        fold(statement, data, 1);
      })
      .on(Withdrawn, (statement, { data }) => {
        handled(data.reference);
        fold(statement, data, -1);
      });
    const application = createApplication({ store, projections: [projection] });
    await application.rebuild(projection, { after: await store.head() });
    const stop = new AbortController();
    const running = application.worker().run({ signal: stop.signal });
    return {
      append: (stream, event) => writer.append(stream, [codec.encode(event)]),
      close: async () => {
        stop.abort();
        await running;
        await Promise.all([store.close(), writer.close()]);
      },
    };
  };
}

/** Refold's worker with a delivery to a handler in its process, on a connection pool of its own. */
export function followDelivery({ url }: Logs): Open {
  const codec = new EventCodec([Deposited, Withdrawn]);
  return async (name, handled) => {
    const writer = await postgresStore(url);
    const store = await postgresStore(url);
    const told = delivery(name, { startAt: 'end' })
      .on(Deposited, ({ data }) => handled(data.reference))
      .on(Withdrawn, ({ data }) => handled(data.reference));
    const application = createApplication({ store, deliveries: [told] });
    const stop = new AbortController();
    const running = application.worker().run({ signal: stop.signal });
    return {
      append: (stream, event) => writer.append(stream, [codec.encode(event)]),
      close: async () => {
        stop.abort();
        await running;
        await Promise.all([store.close(), writer.close()]);
      },
    };
  };
}

/**
 * A follower as one would write it by hand: when notified it reads what is new, folds it into documents, and writes these and
 * its checkpoint in one transaction, until nothing is left. Its appends take a lock for the order of positions: without it
 * this very follower passes events that commit later, and never sees them.
 */
export function followByHand({ raw }: Logs): Open {
  return async (name, handled) => {
    const projection = await raw.createProjection(name, await raw.head());
    let notifications = 0;
    let working: Promise<void> | undefined;
    const work = async (): Promise<void> => {
      for (let seen = -1; seen < notifications;) {
        seen = notifications;
        while ((await projection.step(({ data }) => handled(data.reference))) > 0);
      }
      working = undefined;
    };
    const listening = await raw.sql.listen(CHANNEL, () => {
      notifications += 1;
      working ??= work();
    });
    return {
      append: (stream, event) => raw.appendInOrder(stream, event, CHANNEL),
      close: async () => {
        await listening.unlisten();
        await working;
      },
    };
  };
}

/** Is told that something was appended, and looks at nothing. It takes one append at a time. */
export function followNotifications({ raw }: Logs): Open {
  return async (_, handled) => {
    let appending = '';
    const listening = await raw.sql.listen(CHANNEL, () => handled(appending));
    return {
      append: (stream, event) => {
        appending = event.reference;
        return raw.appendNotifying(CHANNEL, stream, event);
      },
      close: () => listening.unlisten(),
    };
  };
}

/** Emmett with its defaults. */
export function followEmmett(emmett: Emmett): Open {
  return async (name, handled) => {
    const close = emmett.follow(name, ({ reference }: Movement) => handled(reference));
    return { append: (stream, event) => emmett.append(stream, [event]), close };
  };
}

const CHANNEL = 'raw_events';
