/**
 * The attributes of a message, by the names that CloudEvents 1.0 gives them: in lower case, all of them text.
 * Source: https://github.com/cloudevents/spec, with its extensions Sequence, Partitioning and Distributed Tracing.
 */
export interface MessageAttributes {
  readonly specversion: '1.0';
  /** The same at every attempt; with `source` it identifies the message for good. */
  readonly id: string;
  /** A URI reference that names who sends, by default the delivery: `/orders_out`. */
  readonly source: string;
  readonly type: string;
  /** The stream of the event. */
  readonly subject?: string;
  /** When the event was recorded, RFC 3339. */
  readonly time?: string;
  readonly datacontenttype?: string;
  /** Grows with every message of its source and key when compared as text. */
  readonly sequence?: string;
  /** The message's key. */
  readonly partitionkey?: string;
  readonly correlationid?: string;
  readonly causationid?: string;
  readonly traceparent?: string;
  readonly tracestate?: string;
  /** The version of the event type's data. */
  readonly dataversion?: string;
  /** The event's place in its stream. */
  readonly streamrevision?: string;
  /** `true` if the event was delivered before and is sent again on demand. */
  readonly replayed?: string;
  /** Extensions of the user's own: lower-case letters and digits, 20 at most. */
  readonly [extension: string]: string | undefined;
}

/** A message on its way to a subscriber: what a transport is given to send. */
export interface Message {
  /** Where it goes: a Kafka topic, an AMQP routing key, part of a webhook's address. */
  readonly topic: string;
  /** Messages with the same key arrive in order. */
  readonly key: string;
  /** What the transport's own headers carry beside the attributes. */
  readonly headers: Readonly<Record<string, string>>;
  readonly attributes: MessageAttributes;
  /** The payload, encoded as the attribute `datacontenttype` says; empty where there is none. */
  readonly body: Uint8Array;
}

/** What a delivery makes of an event. Everything but the payload has a default that comes from the event. */
export interface OutgoingMessage {
  /** JSON, or bytes that are sent as they are. */
  readonly payload: unknown;
  /** Default: the delivery's `topic`. */
  readonly topic?: string;
  /**
   * Default: the sequence of the event. Messages of one key stay in order as long as all of it comes from one sequence: a
   * delivery that sends with other keys declares them as its `sequence`.
   */
  readonly key?: string;
  /** Default: the event's type. */
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default `application/json`, and `application/octet-stream` for bytes. */
  readonly contentType?: string;
  /** Further attributes; they win over those that come from the event, but for `id`, `source` and `sequence`. */
  readonly attributes?: Readonly<Record<string, string>>;
}
