export {
  AggregateNotFoundError,
  AppendOutcomeUnknownError,
  DeadLetterError,
  DecodeError,
  DefinitionError,
  DuplicateEventError,
  EventTooLargeError,
  ImportConflictError,
  ImportItemError,
  InlineProjectionError,
  InvalidArgumentError,
  LeaseLostError,
  messageOf,
  NestedTransactionError,
  NotIndexedError,
  ProcessorOutdatedError,
  ProcessorRolledBackError,
  ProcessorStoppedError,
  RefoldError,
  RevisionConflictError,
  SerializationError,
  StoreBusyError,
  StoreClosedError,
  StoreUnavailableError,
  StreamArchivedError,
  TransactionEndedError,
  UnknownEventTypeError,
  UnknownEventVersionError,
  UnknownProcessorError,
  UnsupportedError,
  WaitTimeoutError,
  type FailedEvent,
  type LockHolder,
} from './errors.js';
export { systemClock, type Clock } from './clock.js';
export { consoleLogger, silentLogger, type Logger } from './logger.js';

export {
  defineEvent,
  event,
  type DataOf,
  type EventClass,
  type EventCreator,
  type EventOf,
  type EventOptions,
  type EventType,
  type PlainEvent,
  type Upcaster,
} from './events/event-type.js';
export { EventCodec } from './events/codec.js';
export { causedBy, withMetadata } from './events/correlation.js';

export {
  Aggregate,
  aggregateInternals,
  applies,
  pendingEvents,
  revisionOf,
  type AggregateInternals,
  type AppliesDecorator,
} from './aggregates/aggregate.js';
export {
  aggregate,
  aggregateTypeOf,
  type AggregateClass,
  type AggregateOptions,
  type AggregateType,
} from './aggregates/aggregate-type.js';
export {
  decider,
  DeciderAggregate,
  type AnyDecider,
  type Decider,
  type DeciderOptions,
} from './aggregates/decider.js';
export {
  Repository,
  type LoadOptions,
  type RepositoryOptions,
  type SaveOptions,
  type SaveResult,
  type UpdateResult,
} from './aggregates/repository.js';

export {
  documentProjection,
  DocumentProjection,
  type DocumentProjectionOptions,
} from './processors/document-projection.js';
export {
  customProjection,
  CustomProjection,
  type CustomProjectionOptions,
} from './processors/custom-projection.js';
export type {
  CustomHandler,
  DocumentKey,
  Fold,
  Projection,
  ProcessorOptions,
  ProjectionContext,
  ProjectionOptions,
  SequenceKey,
} from './processors/projection.js';
export type { AroundBatch, HandledBatch } from './processors/around-batch.js';
export type { Guarantee, Processor, ProcessorMode } from './processors/processor.js';
export {
  delivery,
  Delivery,
  type DeliveryContext,
  type DeliveryHandler,
  type DeliveryOptions,
} from './processors/delivery.js';
export {
  attributeHeaders,
  eventOfMessage,
  receivedMessage,
  type Arrival,
  type ReceivedMessage,
} from './deliveries/cloud-events.js';
export type { FlowMetrics } from './deliveries/flow/flow.js';
export type { BacklogOptions, FlowOptions, RateOptions } from './deliveries/flow/flow-settings.js';
export { BacklogFullError, type HoldAppendsOptions } from './deliveries/flow/held-appends.js';
export type { StartAt, SubscriberOptions } from './deliveries/delivery-options.js';
export {
  MessageDelivery,
  type Mapped,
  type MappingContext,
  type MessageDeliveryOptions,
  type MessageMapping,
} from './deliveries/message-delivery.js';
export type { Message, MessageAttributes, OutgoingMessage } from './deliveries/message.js';
export {
  logReader,
  LogReader,
  type LogReaderOptions,
  type PartStatus,
  type ReadFrom,
  type RereadOptions,
} from './sources/log-reader.js';
export type { PartitionedLog } from './sources/partitioned-log.js';
export { sendByKey, type SendByKeyOptions } from './deliveries/send-by-key.js';
export { Slots } from './deliveries/slots.js';
export {
  MessageRejectedError,
  SubscriberGoneError,
  TransportUnavailableError,
} from './deliveries/transport-errors.js';
export type { CircuitOptions } from './deliveries/webhook/circuit.js';
export { receiveWebhook, type ArrivedWebhook } from './deliveries/webhook/receive-webhook.js';
export {
  newWebhookSecret,
  verifyWebhook,
  type WebhookHeaders,
  type WebhookSecret,
  type WebhookToVerify,
} from './deliveries/webhook/signature.js';
export {
  WebhookFormatError,
  WebhookSignatureError,
  type SignatureProblem,
} from './deliveries/webhook/webhook-errors.js';
export type { WebhookMode } from './deliveries/webhook/webhook-message.js';
export type { WebhookTransportOptions } from './deliveries/webhook/webhook-options.js';
export { webhookTransport, type WebhookTransport } from './deliveries/webhook/webhook-transport.js';
export type {
  ExactlyOnceSender,
  SendFailure,
  SendResult,
  SentPlace,
  Subscription,
  Transport,
  TransportSupports,
} from './deliveries/transport.js';
export {
  processManager,
  ProcessManager,
  type AnyProcessManager,
  type ProcessEventHandler,
  type ProcessKey,
  type ProcessManagerOptions,
  type ProcessStateOptions,
} from './processors/process-manager.js';
export type { Process, TimerDue } from './processors/process.js';
export type {
  DeadLetterOptions,
  ErrorKind,
  ErrorOptions,
  ErrorPolicy,
  OnError,
  RetryOptions,
} from './processors/error-policy.js';
export {
  DeadLetters,
  type InspectedLetter,
  type LetterChoice,
  type ListLettersOptions,
} from './processors/dead-letters.js';
export {
  ProcessorHandle,
  type PauseOptions,
  type ProcessorMetrics,
  type RebuildOptions,
  type SplitOptions,
  type VerifyOptions,
} from './processors/processor-handle.js';
export type { ReplayOptions } from './processors/replay.js';
export type { Difference, Verification } from './processors/verify.js';
export { shutdownSignal } from './processors/shutdown.js';
export type { OnProgress, Progress } from './processors/progress.js';
export type {
  PartitionStatus,
  ProcessorRunState,
  ProcessorStatus,
  RetryStatus,
  WaitOptions,
} from './processors/status.js';
export { Worker, type RunOptions, type WorkerOptions } from './processors/worker.js';
export { createInbox, Inbox, type InboxOptions, type InboxStore, type OnceResult } from './inbox/inbox.js';
export { messageStreamOf } from './messages/message-stream.js';
export type { ArchiveMessagesOptions, ArchiveMessagesResult } from './messages/archive-messages.js';
export { inboxMessage, type InboxMessage } from './inbox/inbox-message.js';
export {
  receiver,
  Receiver,
  type ReceivedEvent,
  type ReceiverContext,
  type ReceiverHandler,
  type ReceiverOptions,
} from './inbox/receiver.js';
export { UnknownMessageTypeError } from './inbox/unknown-message-type-error.js';
export {
  Application,
  createApplication,
  type AppendEventsOptions,
  type ApplicationOptions,
  type EventSource,
  type EventsOptions,
  type EventToImport,
  type Store,
} from './application.js';

export type {
  AppendAllOptions,
  AppendOptions,
  AppendResult,
  Direction,
  EventFilter,
  EventMetadata,
  EventStore,
  EventStoreSupports,
  ExpectedRevision,
  ImportedEvent,
  ImportOptions,
  ImportProgress,
  ImportResult,
  ImportSource,
  InlineHook,
  LogUnit,
  NewEvent,
  ReadAllOptions,
  ReadStreamOptions,
  RecordedEvent,
  StreamAppend,
  TruncateOptions,
} from './store/event-store.js';
export { EventReader, type EventBatch } from './store/event-reader.js';
export type {
  DeadLetter,
  Failure,
  Fence,
  Lease,
  LetterError,
  LetterQuery,
  LetterSelection,
  Move,
  Partition,
  PartitionKey,
  ProcessorState,
  ProcessorUnit,
  SliceProgress,
  SliceRange,
  Steering,
  Timer,
  WorkerPresence,
} from './store/processor-state.js';
export type { InboxState, InboxUnit, ReceivedId, ReceivedPlace } from './store/inbox-state.js';
export type {
  Collection,
  DocumentAccess,
  DocumentReader,
  GenerationDocuments,
  Generation,
  LiveGeneration,
  Snapshot,
  StateStore,
  StateUnit,
} from './store/state-store.js';
export type {
  Comparison,
  DocumentPage,
  DocumentQuery,
  FieldCondition,
  Indexes,
  IndexesOn,
  IndexType,
  NoIndexes,
} from './store/document-query.js';
export {
  findPlan,
  pageOf,
  type ComparisonOperator,
  type FieldTest,
  type FindPlan,
} from './store/find-plan.js';
export {
  changedIndexes,
  INDEX_NAME,
  indexedFields,
  indexedValue,
  indexName,
  MAX_INDEXED_BYTES,
  type IndexedField,
  type IndexedValue,
} from './store/indexes.js';
export { sliceOf, SLICES } from './store/slices.js';
export {
  checkMove,
  equalRanges,
  furthestProgress,
  mergeProgress,
  noPartition,
  progressOf,
  splitProgress,
  type RangeProgress,
} from './store/slice-progress.js';
export { unprocessedOf, type EventPlace, type GenerationWork } from './store/unprocessed.js';

export { ChangeSignal } from './store/change-signal.js';
export { GroupCommit, type GroupCommitOptions, type Settled } from './store/group-commit.js';
export { Mutex } from './store/mutex.js';
export {
  placeImport,
  runImport,
  type ImportChunk,
  type ImportTarget,
  type ImportTip,
  type PlacedImport,
  type PreparedImport,
} from './store/importing.js';
export { conflictOf } from './store/expected-revision.js';
export { checkOpen, TransactionScopes, type TransactionScope } from './store/transaction-scope.js';
export {
  categoryOf,
  checkStream,
  DEFAULT_MAX_EVENT_BYTES,
  idOf,
  prepareAppends,
  toJson,
  type PreparedAppend,
  type PreparedEvent,
} from './store/prepare-append.js';
export {
  checkPosition,
  checkTruncation,
  readAllRange,
  readStreamRange,
  type ReadRange,
} from './store/read-range.js';
export { memoryStore, MemoryStore, type MemoryStoreOptions } from './memory/memory-store.js';
export type { MemoryUnit } from './memory/memory-unit.js';
