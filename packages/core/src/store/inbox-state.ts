/** What tells one message from another by its id. */
export interface ReceivedId {
  /** The name of the inbox: each remembers for itself. */
  readonly inbox: string;
  /** Whose id it is; empty where ids are unique without it. */
  readonly source: string;
  readonly id: string;
}

/** What tells one message from another by its place among those of the same source and key. */
export interface ReceivedPlace {
  readonly inbox: string;
  readonly source: string;
  readonly key: string;
  /** Grows from message to message, compared as text by code points. */
  readonly sequence: string;
}

/** What can be noted about received messages inside a transaction. */
export interface InboxUnit {
  /**
   * Notes that a message was received; false if that is known. While another transaction notes the same message, this one
   * waits until it has ended.
   */
  receive(message: ReceivedId): Promise<boolean>;
  /**
   * Notes how far the messages of a source and key were received; false if it is known to be that far or further. While
   * another transaction notes the same source and key, this one waits until it has ended.
   */
  receiveInSequence(place: ReceivedPlace): Promise<boolean>;
}

/** What a store remembers of received messages. */
export interface InboxState {
  /**
   * Forgets messages, and places, that an inbox received longer ago than so many milliseconds, those that came first before
   * others, and at most `limit` of each. Returns how many; fewer than `limit` once nothing is left to forget, unless
   * somebody else is forgetting at the same time.
   */
  forgetReceived(
    inbox: string,
    options: { readonly olderThanMs: number; readonly limit: number },
  ): Promise<number>;
}
