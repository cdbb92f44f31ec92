/** A message of PostgreSQL's protocol, version 3. */
export interface Message {
  /** Its letter; empty for what a client begins with, which has none. */
  readonly type: string;
  /** All of it, to be passed on as it is. */
  readonly raw: Buffer;
}

/**
 * Cuts the bytes that one side sends into messages.
 * Source: PostgreSQL's documentation, "Frontend/Backend Protocol", Message Formats.
 */
export class MessageReader {
  #startup: boolean;
  #rest: Buffer = Buffer.alloc(0);

  /** A client's first message has no letter. */
  constructor(side: 'client' | 'server') {
    this.#startup = side === 'client';
  }

  /** The messages that are complete now. */
  read(chunk: Buffer): Message[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const messages: Message[] = [];
    for (let next = this.#next(); next; next = this.#next()) messages.push(next);
    return messages;
  }

  #next(): Message | undefined {
    const header = this.#startup ? 0 : 1;
    if (this.#rest.length < header + 4) return undefined;
    const length = header + this.#rest.readUInt32BE(header);
    if (this.#rest.length < length) return undefined;
    const raw = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    const type = this.#startup ? '' : String.fromCharCode(raw[0] ?? 0);
    this.#startup = false;
    return { type, raw };
  }
}

/** Knows which statements a client runs: its simple queries, and its bound prepared statements. */
export class StatementReader {
  readonly #prepared = new Map<string, string>();

  /** The SQL that a client's message makes the server run, if it does. */
  read({ type, raw }: Message): string | undefined {
    if (type === 'Q') return stringAt(raw, 5).text;
    if (type === 'P') {
      const name = stringAt(raw, 5);
      this.#prepared.set(name.text, stringAt(raw, name.end).text);
    }
    if (type === 'B') return this.#prepared.get(stringAt(raw, stringAt(raw, 5).end).text);
    return undefined;
  }
}

/** What a server is after an answer: idle, in a transaction, or in one that failed. Undefined if the answer goes on. */
export function statusIn({ type, raw }: Message): 'I' | 'T' | 'E' | undefined {
  if (type !== 'Z') return undefined;
  const status = String.fromCharCode(raw[5] ?? 0);
  return status === 'I' || status === 'T' ? status : 'E';
}

function stringAt(raw: Buffer, start: number): { readonly text: string; readonly end: number } {
  const end = raw.indexOf(0, start);
  return { text: raw.toString('utf8', start, end), end: end + 1 };
}
