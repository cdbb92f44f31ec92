/** What an answer says of one partition. */
interface Stored {
  readonly topicName?: unknown;
  readonly partition?: unknown;
}

/**
 * The places (`topic/partition`) that an answer to a request does not speak of, though it says that all went well. When a
 * partition moves to a broker that has answered already while the rest is tried again, kafkajs does not send its records at
 * all. An answer of another shape is taken as it is.
 */
export function missingFrom(answer: unknown, places: readonly string[]): ReadonlySet<string> {
  if (!Array.isArray(answer)) return new Set();
  const stored = new Set(
    (answer as readonly Stored[]).map(
      ({ topicName, partition }) => `${String(topicName)}/${String(partition)}`,
    ),
  );
  return new Set(places.filter((place) => !stored.has(place)));
}
