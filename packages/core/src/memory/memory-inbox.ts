import type { ReceivedId, ReceivedPlace } from '../store/inbox-state.js';
import { compareText } from '../store/text-order.js';
import { keyOf, MemoryTable } from './memory-table.js';

interface Received {
  readonly inbox: string;
  readonly receivedAt: number;
}

interface ReceivedUpTo extends Received {
  readonly sequence: string;
}

/** What inboxes have received; as a layer over another, what a transaction sees. */
export class MemoryInbox {
  readonly #ids: MemoryTable<Received>;
  readonly #places: MemoryTable<ReceivedUpTo>;

  constructor(below?: MemoryInbox) {
    this.#ids = new MemoryTable(below ? below.#ids : undefined);
    this.#places = new MemoryTable(below ? below.#places : undefined);
  }

  /** Writes this layer into what is below it. */
  commit(): void {
    this.#ids.commit();
    this.#places.commit();
  }

  receive({ inbox, source, id }: ReceivedId, now: number): boolean {
    const key = keyOf(inbox, source, id);
    if (this.#ids.get(key)) return false;
    this.#ids.set(key, { inbox, receivedAt: now });
    return true;
  }

  receiveInSequence({ inbox, source, key: of, sequence }: ReceivedPlace, now: number): boolean {
    const key = keyOf(inbox, source, of);
    const known = this.#places.get(key);
    if (known && compareText(sequence, known.sequence) <= 0) return false;
    this.#places.set(key, { inbox, sequence, receivedAt: now });
    return true;
  }

  forget(inbox: string, before: number, limit: number): number {
    return forgetIn(this.#ids, inbox, before, limit) + forgetIn(this.#places, inbox, before, limit);
  }
}

function forgetIn<Row extends Received>(
  table: MemoryTable<Row>,
  inbox: string,
  before: number,
  limit: number,
): number {
  const old = table
    .entries()
    .filter(([, row]) => row.inbox === inbox && row.receivedAt < before)
    .sort(([, one], [, other]) => one.receivedAt - other.receivedAt)
    .slice(0, limit);
  for (const [key] of old) table.delete(key);
  return old.length;
}
