import type { StateStore } from '@refold/core';
import { describe } from 'mocha';
import { describeDocuments } from './documents.js';
import { describeFinding } from './finding.js';
import { describeGenerations } from './generations.js';
import type { StoreHarness } from './harness.js';
import { describeLeases } from './leases.js';
import { describeSnapshots } from './snapshots.js';
import { describeTransactions } from './transactions.js';

/** Declares the mocha tests that every `StateStore` must pass. */
export function describeStateStore(name: string, harness: StoreHarness<StateStore>): void {
  describe(`${name}: state store`, () => {
    describeTransactions(harness);
    describeLeases(harness);
    describeGenerations(harness);
    describeDocuments(harness);
    describeFinding(harness);
    describeSnapshots(harness);
  });
}
