import { UnsupportedError } from '../errors.js';
import type { AppendOptions, AppendResult, EventStore, NewEvent } from '../store/event-store.js';
import type { StateUnit } from '../store/state-store.js';
import { checkStream } from '../store/prepare-append.js';

/** @internal The category of the streams of messages that are appended beside events. No aggregate or process manager has it. */
export const MESSAGE_CATEGORY = 'message';

/**
 * The stream of the messages that are appended beside the events of a stream: `message-order-42` for `order-42`.
 * @throws InvalidArgumentError for a bad name
 */
export function messageStreamOf(stream: string): string {
  checkStream(stream);
  return `${MESSAGE_CATEGORY}-${stream}`;
}

/** @internal Appends events to a stream and messages to the stream of its messages, all or none. */
export async function appendBeside<Unit extends StateUnit>(
  log: EventStore<Unit>,
  stream: string,
  events: readonly NewEvent[],
  messages: readonly NewEvent[],
  { expected, ...options }: AppendOptions<Unit>,
): Promise<AppendResult> {
  if (!log.supports.multiStreamAppend) {
    throw new UnsupportedError('messages beside events', 'append them as events of their own');
  }
  const appends = [
    { stream, events, expected },
    { stream: messageStreamOf(stream), events: messages },
  ];
  const [own, beside] = await log.appendAll(appends, options);
  if (!own || !beside) throw new RangeError('appendAll returned fewer results than it was given appends');
  return { ...own, position: beside.position };
}
