import {
  causedBy,
  createApplication,
  customProjection,
  memoryStore,
  withMetadata,
  type EventMetadata,
} from '@refold/core';
import { expect } from 'chai';
import { Account, Deposited, Opened } from './account.js';
import { stored } from './stores.js';

async function metadataOf(
  act: (accounts: ReturnType<typeof accountsOf>) => Promise<unknown>,
): Promise<EventMetadata[]> {
  const accounts = accountsOf();
  await act(accounts);
  const events = await accounts.application.streamEvents('account-1').toArray();
  return events.map(({ metadata }) => metadata);
}

function accountsOf() {
  const application = createApplication({ store: memoryStore(), aggregates: [Account] });
  return { application, repository: application.repository(Account) };
}

describe('metadata', () => {
  it('of withMetadata is on every event that is recorded in it', async () => {
    const found = await metadataOf(({ application, repository }) =>
      withMetadata({ correlationId: 'request-1' }, async () => {
        await repository.create('1', (account) => account.open('Ann'));
        await repository.update('1', (account) => account.deposit(1).deposit(2));
        await application.append('account-1', [new Deposited(3)]);
      }),
    );
    expect(found).to.deep.equal(Array(4).fill({ correlationId: 'request-1' }));
  });

  it('of an inner withMetadata adds to the outer and wins over it, and ends with it', async () => {
    const found = await metadataOf(({ repository }) =>
      withMetadata({ correlationId: 'outer', tenant: 'a' }, async () => {
        await withMetadata({ tenant: 'b', user: 'u' }, () =>
          repository.create('1', (account) => account.open('Ann')),
        );
        await repository.update('1', (account) => account.deposit(1));
      }),
    );
    expect(found).to.deep.equal([
      { correlationId: 'outer', tenant: 'b', user: 'u' },
      { correlationId: 'outer', tenant: 'a' },
    ]);
  });

  it('of a save wins over the ambient', async () => {
    const found = await metadataOf(({ repository }) =>
      withMetadata({ correlationId: 'outer', tenant: 'a' }, () =>
        repository.create('1', (account) => account.open('Ann'), { metadata: { tenant: 'c' } }),
      ),
    );
    expect(found).to.deep.equal([{ correlationId: 'outer', tenant: 'c' }]);
  });

  it('is empty where nobody gave any', async () => {
    const found = await metadataOf(({ repository }) =>
      repository.create('1', (account) => account.open('Ann')),
    );
    expect(found).to.deep.equal([{}]);
  });

  it('of concurrent calls stays apart', async () => {
    const { application, repository } = accountsOf();
    await Promise.all(
      ['1', '2', '3'].map((id) =>
        withMetadata({ correlationId: `request-${id}` }, async () => {
          await repository.create(id, (account) => account.open('Ann'));
          await repository.update(id, (account) => account.deposit(1));
        }),
      ),
    );
    const all = await application.events().toArray();
    expect(all).to.have.length(6);
    for (const { stream, metadata } of all) {
      expect(metadata).to.deep.equal({ correlationId: stream.replace('account-', 'request-') });
    }
  });
});

describe('causedBy', () => {
  it('begins a chain with the id of its first event', () => {
    const first = stored('Opened', {});
    expect(causedBy(first)).to.deep.equal({ correlationId: first.id, causationId: first.id });
  });

  it('carries the correlation on and names the direct cause', () => {
    const second = {
      ...stored('Opened', {}),
      id: 'second',
      metadata: { correlationId: 'c', causationId: 'first' },
    };
    expect(causedBy(second)).to.deep.equal({ correlationId: 'c', causationId: 'second' });
  });

  it('is what events recorded in a custom handler carry', async () => {
    const outside = createApplication({ store: memoryStore(), aggregates: [Account] });
    const welcome = customProjection('welcome').on(Opened, async ({ data, metadata }) => {
      await outside
        .repository(Account)
        .create(data.owner, (account) => account.open(`from ${String(metadata.user)}`));
    });
    const { application } = {
      application: createApplication({ store: memoryStore(), projections: [welcome] }),
    };
    await application.append('account-1', [new Opened('Ann')], {
      metadata: { user: 'u', correlationId: 'c' },
    });
    await application.catchUp();
    const [cause] = await application.events().toArray();
    const [effect] = await outside.events().toArray();
    expect(effect?.metadata).to.deep.equal({ correlationId: 'c', causationId: cause?.id });
  });
});
