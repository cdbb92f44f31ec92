import type { EventStore } from '@refold/core';
import { describe } from 'mocha';
import { describeAppends } from './appends.js';
import { describeBadInput } from './bad-input.js';
import type { StoreHarness } from './harness.js';
import { describeIdempotency } from './idempotency.js';
import { describeImports } from './imports.js';
import { describeLogModel } from './log-model.js';
import { describeReads } from './reads.js';
import { describeRoundTrip } from './round-trip.js';
import { describeTailing } from './tailing.js';

/** Declares the mocha tests that every `EventStore` must pass. */
export function describeEventStore(name: string, harness: StoreHarness<EventStore>): void {
  describe(`${name}: event store`, () => {
    describeAppends(harness);
    describeIdempotency(harness);
    describeReads(harness);
    describeRoundTrip(harness);
    describeTailing(harness);
    describeImports(harness);
    describeLogModel(harness);
    describeBadInput(harness);
  });
}
