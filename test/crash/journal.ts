import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import {
  RevisionConflictError,
  StoreUnavailableError,
  type AppendResult,
  type EventStore,
  type StateUnit,
  type StreamAppend,
} from '@refold/core';
import { overriding } from './overriding.js';

/** What became of an append, as its caller was told. `results` is undefined where it was refused. */
interface Outcome {
  readonly intent: string;
  readonly results?: readonly AppendResult[];
}

/** A later process is about to make the append again, without its inline projections. */
interface Repetition {
  readonly again: string;
}

/** A line of a journal: the intent is written before the append is called, the outcome after it has ended. */
type Line = Omit<Intent, 'outcomes' | 'repeated'> | Outcome | Repetition;

/** An append that some process was about to make, and every outcome that was ever told of it. */
export interface Intent {
  readonly intent: string;
  readonly appends: readonly StreamAppend[];
  /** Whether inline projections ran in its transaction. */
  readonly inline: boolean;
  readonly outcomes: Outcome[];
  /** Whether a later process has made it again, or was about to. */
  repeated: boolean;
}

/** What a journal tells of: an append that has returned, before its outcome is written and after. */
interface JournalEvents {
  readonly committed?: () => void;
  readonly acknowledged?: () => void;
}

/**
 * What one process was about to append, and what it was told: a file that only it writes, one line a write, so that a
 * kill leaves at most its last line unfinished.
 */
export class Journal {
  readonly #file: number;
  readonly #life: number;
  readonly #on: JournalEvents;
  #count = 0;

  /** `life` tells the processes of a run apart. */
  constructor(file: string, life: number, on: JournalEvents = {}) {
    this.#file = openSync(file, 'a');
    this.#life = life;
    this.#on = on;
  }

  /** Makes an append of which nothing was written yet. */
  begin(
    appends: readonly StreamAppend[],
    append: () => Promise<readonly AppendResult[]>,
    { inline = false }: { readonly inline?: boolean } = {},
  ): Promise<readonly AppendResult[]> {
    const intent = `${this.#life}/${++this.#count}`;
    this.#write({ intent, appends, inline });
    return this.#end({ intent }, append);
  }

  /** Makes an append again that an earlier process began. */
  settle(intent: string, append: () => Promise<readonly AppendResult[]>): Promise<readonly AppendResult[]> {
    this.#write({ again: intent });
    return this.#end({ intent }, append);
  }

  async #end(
    outcome: Outcome,
    append: () => Promise<readonly AppendResult[]>,
  ): Promise<readonly AppendResult[]> {
    try {
      const results = await append();
      this.#on.committed?.();
      this.#write({ ...outcome, results });
      this.#on.acknowledged?.();
      return results;
    } catch (error) {
      if (isRefusal(error)) this.#write(outcome);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(line: Line): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}

/** The intents of several journals with their outcomes, which may be in another journal than the intent. */
export function readJournals(files: readonly string[]): Map<string, Intent> {
  const intents = new Map<string, Intent>();
  const later: (Outcome | Repetition)[] = [];
  for (const line of files.flatMap(linesOf)) {
    if ('appends' in line) intents.set(line.intent, { ...line, outcomes: [], repeated: false });
    else later.push(line);
  }
  for (const line of later) {
    const intent = intents.get('again' in line ? line.again : line.intent);
    if (intent && 'again' in line) intent.repeated = true;
    else if ('intent' in line) intent?.outcomes.push(line);
  }
  return intents;
}

/** A store whose single appends, which is what an application makes, are in the journal. */
export function journaled<Unit extends StateUnit, Store extends EventStore<Unit>>(
  store: Store,
  journal: Journal,
): Store {
  const append: EventStore<Unit>['append'] = async (stream, events, options) => {
    const [result] = await journal.begin(
      [{ stream, events, expected: options?.expected }],
      async () => [await store.append(stream, events, options)],
      { inline: options?.inline !== undefined },
    );
    if (!result) throw new Error('An append of one stream has one result');
    return result;
  };
  return overriding<EventStore<Unit>>(store, { append }) as Store;
}

/**
 * Settles by repetition what earlier processes left open: what had happened is acknowledged as it was then, what had
 * not happens now, unless its stream has moved on.
 */
export async function settle(
  store: EventStore,
  earlier: readonly string[],
  journal: Journal,
): Promise<number> {
  let settled = 0;
  for (const { intent, appends, outcomes } of readJournals(earlier).values()) {
    if (outcomes.length > 0) continue;
    settled += 1;
    await journal
      .settle(intent, () => store.appendAll(appends))
      .catch((error: unknown) => {
        if (!isRefusal(error)) throw error;
      });
  }
  return settled;
}

/** Whether an error says that nothing was appended: for its stream's revision, or since the database was out of reach. */
export function isRefusal(error: unknown): boolean {
  return error instanceof RevisionConflictError || error instanceof StoreUnavailableError;
}

/** A last line that a kill cut short tells of nothing: its append had not begun, or its outcome was not told. */
function linesOf(file: string): Line[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}
