import type { StateStore } from '@refold/core';
import { describe } from 'mocha';
import { describeCrashes } from './crashes.js';
import { describeDeadLetters } from './dead-letters.js';
import { describeDocuments } from './documents.js';
import { describeFinding } from './finding.js';
import { describeGenerations } from './generations.js';
import type { StoreHarness } from './harness.js';
import { describeInbox } from './inbox.js';
import { describeInboxModel } from './inbox-model.js';
import { describeLeases } from './leases.js';
import { describePartitionModel } from './partition-model.js';
import { describePartitionRaces } from './partition-races.js';
import { describePartitions } from './partitions.js';
import { describePause } from './pause.js';
import { describeReopening } from './reopening.js';
import { describeShadows } from './shadows.js';
import { describeSnapshots } from './snapshots.js';
import { describeTimers } from './timers.js';
import { describeTransactions } from './transactions.js';
import { describeWorkerPresence } from './worker-presence.js';

/** Declares the mocha tests that every `StateStore` must pass. */
export function describeStateStore(name: string, harness: StoreHarness<StateStore>): void {
  describe(`${name}: state store`, () => {
    describeTransactions(harness);
    describeLeases(harness);
    describeCrashes(harness);
    describePause(harness);
    describePartitions(harness);
    describePartitionModel(harness);
    describePartitionRaces(harness);
    describeGenerations(harness);
    describeShadows(harness);
    describeReopening(harness);
    describeDeadLetters(harness);
    describeTimers(harness);
    describeInbox(harness);
    describeInboxModel(harness);
    describeWorkerPresence(harness);
    describeDocuments(harness);
    describeFinding(harness);
    describeSnapshots(harness);
  });
}
