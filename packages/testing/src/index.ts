export {
  given,
  type ActedAggregate,
  type ActedAsync,
  type GivenAggregate,
  type GivenDecider,
  type GivenOptions,
} from './aggregates.js';
export type { ExpectedError, ThenState } from './aggregate-checks.js';
export {
  react,
  type ExpectedEvent,
  type GivenReaction,
  type ProcessTimer,
  type ReactOptions,
  type Reaction,
} from './process-managers.js';
export {
  project,
  type GivenEvent,
  type ProjectedCollections,
  type ProjectedDocuments,
  type ProjectOptions,
} from './projections.js';
export {
  recordingTransport,
  RecordingTransport,
  type RecordingTransportOptions,
} from './recording-transport.js';
