import { AssertionError } from 'node:assert';
import {
  customProjection,
  defineEvent,
  documentProjection,
  event,
  ProcessorStoppedError,
  type DocumentProjection,
} from '@refold/core';
import { project } from '@refold/testing';
import { expect } from 'chai';

@event('Deposited')
class Deposited {
  constructor(readonly amount: number) {}
}

@event('Closed')
class Closed {}

@event('Ignored')
class Ignored {}

const Noted = defineEvent('Noted', (text: string) => ({ text }));

const balances = documentProjection('balances', { initial: () => ({ total: 0 }) })
  .on(Deposited, (balance, { data }) => ({ total: balance.total + data.amount }))
  .on(Closed, () => null);

const deposited = (account: number, amount: number) => ({
  stream: `account-${account}`,
  event: new Deposited(amount),
});

async function failureOf(check: Promise<unknown>): Promise<AssertionError> {
  const outcome = await check.then(
    () => new Error('Expected the check to fail'),
    (error: unknown) => error,
  );
  if (outcome instanceof AssertionError) return outcome;
  throw outcome;
}

describe('project, of a document projection', () => {
  const history = [
    deposited(1, 5),
    deposited(2, 7),
    { stream: 'account-1', event: new Ignored() },
    deposited(1, 3),
    { stream: 'account-2', event: new Closed() },
  ];

  it('passes where the documents are the expected ones', async () => {
    const projected = project(balances, history);
    await projected.thenDocument('1', { total: 8 });
    await projected.thenDocument('2', undefined);
    await projected.thenDocuments({ '1': { total: 8 } });
    await project(balances, []).thenDocuments({});
  });

  it('fails with a diff where a document differs', async () => {
    const failure = await failureOf(project(balances, history).thenDocument('1', { total: 9 }));
    expect(failure.message).to.match(/^Document '1' of "balances" is not the expected one:\n/);
    expect(failure.message)
      .to.match(/^\+ +total: 8$/m)
      .and.match(/^- +total: 9$/m);
  });

  it('fails where a document is missing, and names those there are', async () => {
    const missing = await failureOf(project(balances, history).thenDocument('3', { total: 0 }));
    expect(missing.message).to.equal(`There is no document '3' in "balances"; there are '1'`);
    const empty = await failureOf(project(balances, []).thenDocument('3', { total: 0 }));
    expect(empty.message).to.equal(`There is no document '3' in "balances"; it is empty`);
  });

  it('fails where a document should be gone, or should not be there', async () => {
    const kept = await failureOf(project(balances, history).thenDocument('1', undefined));
    expect(kept.message).to.match(/not the expected one/);
    const more = await failureOf(project(balances, history).thenDocuments({}));
    expect(more.message).to.match(/^The documents of "balances" are not the expected ones:\n/);
    const fewer = project(balances, history).thenDocuments({ '1': { total: 8 }, '2': { total: 7 } });
    expect((await failureOf(fewer)).message).to.match(/not the expected ones/);
  });

  it('keys documents as the projection says, and hands over metadata and the time of recording', async () => {
    const days = documentProjection('days', { initial: () => ({ events: 0, users: [] as unknown[] }) }).on(
      Deposited,
      ({ events, users }, { metadata }) => ({ events: events + 1, users: [...users, metadata.user] }),
      { key: ({ recordedAt }) => recordedAt.toISOString().slice(0, 10) },
    );
    await project(days, [
      { ...deposited(1, 5), recordedAt: new Date('2024-01-01T10:00:00Z'), metadata: { user: 'a' } },
      { ...deposited(2, 5), recordedAt: new Date('2024-01-01T11:00:00Z'), metadata: { user: 'b' } },
      { ...deposited(1, 5), recordedAt: new Date('2024-01-02T00:00:00Z'), metadata: { user: 'a' } },
    ]).thenDocuments({
      '2024-01-01': { events: 2, users: ['a', 'b'] },
      '2024-01-02': { events: 1, users: ['a'] },
    });
  });

  it('runs inline projections as they run', async () => {
    const inline = documentProjection('balances', { initial: () => ({ total: 0 }), mode: 'inline' }).on(
      Deposited,
      (balance, { data }) => ({ total: balance.total + data.amount }),
    );
    await project(inline, [deposited(1, 5), deposited(1, 6)]).thenDocuments({ '1': { total: 11 } });
  });

  it('rejects with the event and the cause where a handler throws', async () => {
    const cause = new Error('cannot handle this');
    const failing: DocumentProjection<{ total: number }> = documentProjection('failing', {
      initial: () => ({ total: 0 }),
    }).on(Deposited, () => {
      throw cause;
    });
    const outcome = await project(failing, [deposited(1, 5)])
      .thenDocuments({})
      .catch((error: unknown) => error);
    expect(outcome).to.be.instanceOf(ProcessorStoppedError).and.have.property('cause', cause);
    expect(outcome)
      .to.have.property('message')
      .that.matches(/"failing" stopped at position 1 \(Deposited, account-1/);
  });

  it('fails where the documents depend on how events are batched', async () => {
    const shared = { total: 0 };
    const leaky = documentProjection('leaky', { initial: () => shared }).on(
      Deposited,
      (balance, { data }) => {
        balance.total += data.amount;
      },
    );
    const failure = await failureOf(
      project(leaky, [deposited(1, 5), deposited(2, 7)]).thenDocuments({
        '1': { total: 5 },
        '2': { total: 12 },
      }),
    );
    expect(failure.message).to.match(
      /^Projection "leaky" comes to other documents when it handles all events at once/,
    );
  });

  it('fails a given event that JSON changes', async () => {
    const failure = await failureOf(
      project(balances, [deposited(1, 1), deposited(1, NaN)]).thenDocuments({}),
    );
    expect(failure.message).to.match(/^Given event 2, Deposited { amount: NaN }, does not survive/);
  });

  it('wants plain events that the projection does not handle to be named', async () => {
    const noted = [{ stream: 'account-1', event: Noted('hello') }];
    expect((await failureOf(project(balances, noted).thenDocuments({}))).message).to.match(/"Noted"/);
    await project(balances, noted, { events: [Noted] }).thenDocuments({});
  });
});

describe('project, of a custom projection', () => {
  const directory = customProjection('directory', { documents: ['accounts', 'log'] }).on(
    Deposited,
    async ({ stream, data, position }, context) => {
      await context.documents('accounts').putMany(new Map([[stream, { last: data.amount }]]));
      await context.documents('log').putMany(new Map([[String(position), data.amount]]));
    },
  );

  it('checks its collections', async () => {
    const projected = project(directory, [deposited(1, 5), deposited(1, 6)]);
    await projected.thenDocuments('accounts', { 'account-1': { last: 6 } });
    await projected.thenDocuments('log', { '1': 5, '2': 6 });
    await projected.thenDocument('log', '2', 6);
    await projected.thenDocument('log', '3', undefined);
  });

  it('runs once, however many checks there are', async () => {
    let calls = 0;
    const counting = customProjection('counting', { documents: ['none'] }).on(Deposited, () => {
      calls++;
    });
    const projected = project(counting, [deposited(1, 5)]);
    await projected.thenDocuments('none', {});
    await projected.thenDocuments('none', {});
    expect(calls).to.equal(1);
  });

  it('fails where a document differs, and where there is no such collection', async () => {
    const projected = project(directory, [deposited(1, 5)]);
    expect((await failureOf(projected.thenDocument('log', '1', 6))).message).to.match(
      /^Document '1' of "log"/,
    );
    expect((await failureOf(projected.thenDocuments('logs', {}))).message).to.equal(
      'Projection "directory" has no collection "logs", it has "accounts", "log"',
    );
  });
});
