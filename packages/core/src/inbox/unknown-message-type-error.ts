import { RefoldError } from '../errors.js';

/** A message arrived of a type that its receiver has no handler for; it was not remembered. */
export class UnknownMessageTypeError extends RefoldError {
  readonly code = 'UNKNOWN_MESSAGE_TYPE';

  constructor(
    readonly receiver: string,
    readonly type: string,
    /** The message's. */
    readonly id: string,
    readonly source: string,
  ) {
    super(
      `Receiver "${receiver}" has no handler for messages of type "${type}" (${id} from ${source}): ` +
        "add one with .on(EventType, …), or declare unknownTypes: 'ignore'",
    );
  }
}
