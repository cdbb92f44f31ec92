import type { Store } from '@refold/core';
import { describe } from 'mocha';
import { describeAppendInTransaction } from './append-in-transaction.js';
import { describeApplicationImports } from './application-imports.js';
import { describeApplicationInbox } from './application-inbox.js';
import { describeApplicationReceivers } from './application-receivers.js';
import { describeApplicationInTransaction } from './application-in-transaction.js';
import { describeArchiving } from './archiving.js';
import { describeEventStore } from './event-store.js';
import type { StoreHarness } from './harness.js';
import { describeInline } from './inline.js';
import { describeLogAndState } from './log-and-state.js';
import { describeMessageArchive } from './message-archive.js';
import { describeMessages } from './messages.js';
import { describeStateStore } from './state-store.js';

/** Declares the tests for a store that is log and state in one: those of both, and what they promise together. */
export function describeStore(name: string, harness: StoreHarness<Store>): void {
  describeEventStore(name, harness);
  describeStateStore(name, harness);
  describe(`${name}: log and state together`, () => {
    describeLogAndState(harness);
    describeAppendInTransaction(harness);
    describeApplicationInTransaction(harness);
    describeApplicationInbox(harness);
    describeApplicationReceivers(harness);
    describeApplicationImports(harness);
    describeArchiving(harness);
    describeInline(harness);
    describeMessages(harness);
    describeMessageArchive(harness);
  });
}
