/** What needs no encoding, as nearly all attributes do not. */
const PLAIN = /^[\x21\x23\x24\x26-\x7e]*$/;

/**
 * An attribute as the value of an HTTP header: spaces, double quotes, percent signs and all that is not printable ASCII are
 * percent-encoded. Source: CloudEvents 1.0, HTTP protocol binding, 3.1.3.2.
 */
export function percentEncoded(value: string): string {
  if (PLAIN.test(value)) return value;
  return value.replace(/[^\x21\x23\x24\x26-\x7e]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

/** The attribute that a header's value stands for. What is not percent-encoded well stands for itself. */
export function percentDecoded(value: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(value)?.[1];
  const text = quoted === undefined ? value : quoted.replace(/\\(.)/g, '$1');
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
