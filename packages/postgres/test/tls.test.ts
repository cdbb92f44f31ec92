import { postgresStore, type Database, type PostgresStore } from '@refold/postgres';
import { expect } from 'chai';
import { after, afterEach, before, describe, it } from 'mocha';
import postgres from 'postgres';
import { failureOf, happened } from './fixture.js';
import { selfSigned } from './self-signed.js';
import { startServer, type PrivateServer } from './server.js';

describe('a server with TLS', () => {
  const { certificate, key } = selfSigned();
  let server: PrivateServer;
  const opened: PostgresStore[] = [];

  before(async function () {
    this.timeout(60_000);
    server = await startServer({
      settings: ['ssl=on', 'ssl_cert_file=server.crt', 'ssl_key_file=server.key'],
      files: { 'server.crt': certificate, 'server.key': key },
    });
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
  });
  after(() => server.stop());

  const open = async (database: Database | postgres.Sql): Promise<PostgresStore> => {
    const store = await postgresStore(database, { pollMs: 60_000 });
    opened.push(store);
    return store;
  };
  const options = (host: string, ssl: object): Database => {
    const { port, pathname } = new URL(server.address);
    return { host, port: Number(port), user: 'postgres', database: pathname.slice(1), ssl };
  };
  /** Which of the connections of stores are encrypted: those of the pool, and that which listens. */
  const encrypted = async (): Promise<unknown> => {
    const sql = postgres(server.address, { max: 1 });
    const rows = await sql`select query like 'listen%' as listens, bool_and(ssl) as ssl
      from pg_stat_activity join pg_stat_ssl using (pid) where application_name = 'refold' group by 1 order by 1`;
    await sql.end();
    return [...rows];
  };

  for (const [how, database] of [
    ['as options', () => options('localhost', { ca: certificate })],
    [
      'as those of a client',
      () =>
        postgres({
          ...(options('127.0.0.1', { ca: certificate }) as object),
          max: 3,
          connection: { application_name: 'refold' },
        }),
    ],
    ['in the address', () => `${server.address}?sslmode=require`],
  ] as const) {
    it(`is spoken to by it on every connection if its options are given ${how}`, async () => {
      const [store, writer] = [await open(database()), await open(database())];
      const head = await store.head();
      const waiting = store.changes(head + 1);
      await store.append('order-1', [happened()]);
      // By a notification alone: polling is far away.
      await writer.append('order-1', [happened()]);
      expect(await waiting).to.equal(head + 2);
      expect(await encrypted()).to.deep.equal([
        { listens: false, ssl: true },
        { listens: true, ssl: true },
      ]);
    });
  }

  it('is refused if its certificate is not the one that is trusted', async () => {
    const other = selfSigned().certificate;
    const error = await failureOf(open(options('localhost', { ca: other })));
    expect(error)
      .to.have.property('code')
      .that.matches(/SELF_SIGNED_CERT|UNABLE_TO_VERIFY|SIGNATURE/);
  });

  it('may cut connections in the midst of transactions, and nothing is lost', async () => {
    const store = await open(options('localhost', { ca: certificate }));
    const before = await store.head();
    const sql = postgres(server.address, { max: 1 });
    const cut = await failureOf(
      store.transaction(async (unit) => {
        await store.append('order-2', [happened()], { transaction: unit });
        const [row] = await unit.sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
        await sql`select pg_terminate_backend(${row?.pid ?? 0})`;
        await unit.sql`select pg_sleep(10)`;
      }),
    );
    await sql.end();
    expect(cut).to.have.property('code', 'STORE_UNAVAILABLE');
    expect(await store.append('order-2', [happened()], { expected: 'no-stream' })).to.include({
      position: before + 1,
    });
  });
});
