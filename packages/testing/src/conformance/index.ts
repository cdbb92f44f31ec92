export { describeEventStore } from './event-store.js';
export type { Capability, OpenOptions, StoreHarness } from './harness.js';
export { describeStateStore } from './state-store.js';
export { describeStore } from './store.js';
export type { OpenedTransport, TransportCapability, TransportHarness } from './transport-harness.js';
export { transportConformance } from './transports.js';
