import {
  createApplication,
  customProjection,
  defineEvent,
  DefinitionError,
  delivery,
  memoryStore,
  processManager,
  type ApplicationOptions,
} from '@refold/core';
import { expect } from 'chai';
import { describe, it } from 'mocha';

const Happened = defineEvent('Happened', () => ({}));

describe('an application whose processors do not go together', () => {
  const refused = (options: Partial<ApplicationOptions>, message: string): void => {
    expect(() => createApplication({ store: memoryStore(), ...options })).to.throw(DefinitionError, message);
  };
  const projection = customProjection('one', { documents: ['things'] }).on(Happened, () => {});
  const sent = delivery('one').on(Happened, () => {});
  const manager = processManager('one').on(Happened, () => {});

  it('is told what kind of processor handles no event', () => {
    refused({ projections: [customProjection('one')] }, 'Projection "one": it handles no event');
    refused({ deliveries: [delivery('one')] }, 'Delivery "one": it handles no event');
    refused({ processManagers: [processManager('one')] }, 'Process manager "one": it handles no event');
  });

  it('is told of what kinds those of one name are', () => {
    refused({ deliveries: [sent, sent] }, 'Delivery "one": there are two of that name');
    refused({ processManagers: [manager, manager] }, 'Process manager "one": there are two of that name');
    refused(
      { projections: [projection], deliveries: [sent] },
      'Delivery "one": there is a projection of that name',
    );
    refused(
      { deliveries: [sent], processManagers: [manager] },
      'Process manager "one": there is a delivery of that name',
    );
  });

  it('is told who writes the same documents', () => {
    const other = customProjection('other', { documents: ['things'] }).on(Happened, () => {});
    refused({ projections: [projection, other] }, 'Projection "other": "things" is written by "one" already');
  });
});
