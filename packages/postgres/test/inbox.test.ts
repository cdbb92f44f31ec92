import { createInbox, StoreBusyError, StoreUnavailableError } from '@refold/core';
import type { PostgresStore, PostgresUnit } from '@refold/postgres';
import { expect } from 'chai';
import { after, afterEach, beforeEach, describe, it } from 'mocha';
import { failureOf, Fixture } from './fixture.js';
import { stopTestDatabase } from './server.js';

after(stopTestDatabase);

const MESSAGE = { id: 'm1', sequence: 1 };

describe('an inbox in PostgreSQL', () => {
  let fixture: Fixture;
  let effects: string;

  beforeEach(async () => {
    fixture = await Fixture.create();
    await fixture.open();
    effects = `${fixture.quoted}.effects`;
    await fixture.sql.unsafe(`create table ${effects} (message text not null)`);
  });
  afterEach(() => fixture.end());

  const receiving = (store: PostgresStore, dedupeBy: 'id' | 'sequence' = 'id') => {
    const inbox = createInbox(store, 'messages', { dedupeBy });
    return (during: () => Promise<unknown> = async () => {}) =>
      inbox.once(MESSAGE, async (unit: PostgresUnit) => {
        await unit.sql.unsafe(`insert into ${effects} values ($1)`, [MESSAGE.id]);
        await during();
      });
  };
  const count = async (): Promise<number> =>
    Number((await fixture.sql.unsafe<{ count: string }[]>(`select count(*) from ${effects}`))[0]?.count);

  for (const [cut, duplicate] of [
    ['request', false],
    ['answer', true],
  ] as const) {
    it(`whose connection breaks at the ${cut} of the commit has the effect once when the message comes again`, async () => {
      const proxy = await fixture.proxy();
      const store = await fixture.open({ listen: false }, proxy.address);
      const receive = receiving(store);
      const cuts = proxy.cut(cut, /^commit/i);
      expect(await failureOf(receive())).to.be.instanceOf(StoreUnavailableError);
      expect(cuts()).to.equal(1);
      expect((await receive()).duplicate).to.equal(duplicate);
      expect(await count()).to.equal(1);
    });
  }

  for (const dedupeBy of ['id', 'sequence'] as const) {
    /** Receives by a connection with a setting, while another receives the same. */
    const meanwhile = async (setting: Record<string, string>): Promise<unknown> => {
      const second = await fixture.open({}, fixture.pool(fixture.address, { connection: setting }));
      let failed: unknown;
      await receiving(
        await fixture.open(),
        dedupeBy,
      )(async () => {
        failed = await failureOf(receiving(second, dedupeBy)());
      });
      expect((await receiving(second, dedupeBy)()).duplicate).to.equal(true);
      return failed;
    };

    it(`by ${dedupeBy}, waits for another no longer than lock_timeout`, async () => {
      expect(await meanwhile({ lock_timeout: '100' })).to.be.instanceOf(StoreBusyError);
      expect(await count()).to.equal(1);
    });
  }

  it('finds what has become a repeat while it waited, whatever isolation level is the default', async () => {
    const connection = { default_transaction_isolation: 'repeatable read' } as const;
    const second = await fixture.open({}, fixture.pool(fixture.address, { connection }));
    let waiting: ReturnType<ReturnType<typeof receiving>> | undefined;
    await receiving(await fixture.open())(async () => {
      waiting = receiving(second)();
      await blocked();
    });
    expect(await waiting).to.deep.equal({ duplicate: true });
    expect(await count()).to.equal(1);
  });

  /** Waits until somebody waits for the end of another's transaction. */
  const blocked = async (): Promise<void> => {
    for (;;) {
      const rows = await fixture.sql`select from pg_locks where not granted and locktype = 'transactionid'`;
      if (rows.length > 0) return;
    }
  };
});
