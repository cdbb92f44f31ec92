/** How many slices every processor has; partitions are ranges of them. */
export const SLICES = 1024;

/**
 * The slice of a sequence key, 0 to 1023. Stable across releases, platforms and languages: FNV-1a, 32 bits, over the
 * key's UTF-8 bytes, folded to 10 bits by xor.
 * Source: Fowler, Noll, Vo, "The FNV Non-Cryptographic Hash Algorithm", RFC 9923 (xor-folding).
 */
export function sliceOf(key: string): number {
  let hash = 0x811c9dc5;
  for (const byte of utf8.encode(key)) hash = Math.imul(hash ^ byte, 0x01000193);
  return ((hash >>> 10) ^ hash) & (SLICES - 1);
}

const utf8 = new TextEncoder();
