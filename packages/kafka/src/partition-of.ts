/**
 * The partition of a key among so many, as Kafka's Java client chooses it, so that producers of all languages agree.
 * Source: murmur2, 32 bits, by Austin Appleby, with the seed of `org.apache.kafka.common.utils.Utils`.
 */
export function partitionOf(key: string, partitions: number): number {
  return (murmur2(Buffer.from(key)) & 0x7fffffff) % partitions;
}

const SEED = 0x9747b28c;
const FACTOR = 0x5bd1e995;

/** @internal A signed number of 32 bits. */
export function murmur2(data: Buffer): number {
  const tail = data.length & ~3;
  let hash = SEED ^ data.length;
  for (let at = 0; at < tail; at += 4) {
    let word = Math.imul(data.readInt32LE(at), FACTOR);
    word = Math.imul(word ^ (word >>> 24), FACTOR);
    hash = Math.imul(hash, FACTOR) ^ word;
  }
  if (tail < data.length) {
    for (let at = data.length - 1; at >= tail; at--) hash ^= (data[at] ?? 0) << (8 * (at - tail));
    hash = Math.imul(hash, FACTOR);
  }
  hash = Math.imul(hash ^ (hash >>> 13), FACTOR);
  return hash ^ (hash >>> 15);
}
