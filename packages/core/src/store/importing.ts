import { setImmediate } from 'node:timers/promises';
import {
  DuplicateEventError,
  ImportItemError,
  InvalidArgumentError,
  StreamArchivedError,
} from '../errors.js';
import type {
  ImportedEvent,
  ImportOptions,
  ImportProgress,
  ImportResult,
  ImportSource,
} from './event-store.js';
import { checkStream, checkText, prepareEvent, type PreparedEvent } from './prepare-append.js';

/** An item of an import that is known to be good. */
export interface PreparedImport extends PreparedEvent {
  readonly stream: string;
  /** Milliseconds; undefined for the time of writing. */
  readonly recordedAt: number | undefined;
}

/** Consecutive items of an import, to be written in one transaction. */
export interface ImportChunk {
  readonly name: string;
  /** How many items of the source come before them. */
  readonly after: number;
  readonly items: readonly PreparedImport[];
}

/** What a store gives an import to work with. */
export interface ImportTarget {
  readonly maxEventBytes: number;
  /** How many events a chunk has unless the caller says otherwise. */
  readonly batchSize: number;
  /** How many items of the source are in the log. */
  imported(name: string): Promise<number>;
  /** The position of the last event. */
  head(): Promise<number>;
  /**
   * Writes a chunk and remembers in the same transaction how many items of the source are in; returns the log's head.
   * @throws ImportConflictError if there are not `after` of them in; ImportItemError, with nothing written
   */
  write(chunk: ImportChunk): Promise<number>;
}

/** An item at its place in the log. */
export interface PlacedImport extends PreparedEvent {
  readonly stream: string;
  readonly revision: number;
  readonly position: number;
  readonly recordedAt: number;
}

/** The end of a log, and what time it is where the log is kept. */
export interface ImportTip {
  readonly position: number;
  /** When the last event was recorded, in milliseconds; 0 for an empty log. */
  readonly recordedAt: number;
  readonly now: number;
}

const ITEMS_A_TURN = 250;

/** A chunk holds about so many characters of JSON at most, however many events were asked for. */
const MAX_CHUNK_LENGTH = 16 * 1024 * 1024;

/**
 * Imports a source into a store: the next chunk is read and made ready while one is being written. What a store's
 * `import` does.
 */
export async function runImport(
  name: string,
  source: ImportSource,
  options: ImportOptions = {},
  target: ImportTarget,
): Promise<ImportResult> {
  const { batchSize = target.batchSize, onProgress, signal } = options;
  checkText('name', name, 200);
  if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
    throw new InvalidArgumentError('batchSize', batchSize, 'must be a whole number from 1');
  }
  signal?.throwIfAborted();
  const imported = await target.imported(name);
  const start: ImportProgress = { imported, position: await target.head() };
  const reader = new ChunkReader(source(imported), { name, after: imported, batchSize, signal, target });
  try {
    return await writeAll(reader, start, (chunk) => write(chunk, target, onProgress));
  } finally {
    await reader.end();
  }
}

async function writeAll(
  reader: ChunkReader,
  start: ImportProgress,
  writeChunk: (chunk: ImportChunk) => Promise<ImportProgress>,
): Promise<ImportResult> {
  let writing = Promise.resolve(start);
  for (;;) {
    const { chunk, ended, failure } = await reader.next();
    await writing;
    if (chunk.items.length > 0) writing = writeChunk(chunk);
    // It is awaited in the next round; until then, its failure only makes the reader stop.
    writing.catch(() => reader.stop());
    if (failure) {
      await writing;
      throw failure.error;
    }
    if (ended) return writing;
  }
}

async function write(
  chunk: ImportChunk,
  target: ImportTarget,
  onProgress: ImportOptions['onProgress'],
): Promise<ImportProgress> {
  const { after, items } = chunk;
  try {
    const progress = { imported: after + items.length, position: await target.write(chunk) };
    await onProgress?.(progress);
    return progress;
  } catch (error) {
    // What comes before the bad item is good.
    const good = error instanceof ImportItemError ? error.item - 1 - after : 0;
    if (good > 0) await write({ ...chunk, items: items.slice(0, good) }, target, onProgress);
    throw error;
  }
}

interface ReaderOptions extends Pick<ImportChunk, 'name' | 'after'> {
  readonly batchSize: number;
  readonly signal: AbortSignal | undefined;
  readonly target: ImportTarget;
}

/** What was read of a source: the chunk is good, and then the source ended or failed, or there is more. */
interface Read {
  readonly chunk: ImportChunk;
  readonly ended: boolean;
  readonly failure: { readonly error: unknown } | undefined;
}

type Step = IteratorResult<ImportedEvent, unknown>;

/** Reads a source by the chunk. */
class ChunkReader {
  readonly #iterator: Iterator<ImportedEvent, unknown> | AsyncIterator<ImportedEvent, unknown>;
  readonly #options: ReaderOptions;
  #after: number;
  #stopped = false;
  #ended = false;

  constructor(source: Iterable<ImportedEvent> | AsyncIterable<ImportedEvent>, options: ReaderOptions) {
    this.#iterator =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    this.#options = options;
    this.#after = options.after;
  }

  /** The next chunk is not wanted any more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Lets the source clean up, unless it has ended by itself. */
  async end(): Promise<void> {
    if (!this.#ended) await this.#iterator.return?.();
  }

  async next(): Promise<Read> {
    const items: PreparedImport[] = [];
    const chunk = { name: this.#options.name, after: this.#after, items };
    let failure: Read['failure'];
    try {
      await this.#fill(items);
    } catch (error) {
      if (this.#options.signal?.aborted) items.length = 0;
      failure = { error };
    }
    this.#after += items.length;
    return { chunk, ended: this.#ended, failure };
  }

  async #fill(items: PreparedImport[]): Promise<void> {
    const { batchSize, signal } = this.#options;
    const ids = new Set<string>();
    let length = 0;
    while (items.length < batchSize && length < MAX_CHUNK_LENGTH && !this.#stopped) {
      const step = this.#step();
      const { done, value } = step instanceof Promise ? await step : step;
      signal?.throwIfAborted();
      if (done) {
        this.#ended = true;
        return;
      }
      const item = this.#prepare(value, this.#after + items.length + 1, ids);
      length += item.data.length + (item.metadata?.length ?? 0);
      items.push(item);
      // So that the chunk before, which is being written meanwhile, gets its turns.
      if (items.length % ITEMS_A_TURN === 0) await setImmediate();
    }
  }

  #step(): Step | Promise<Step> {
    try {
      const step = this.#iterator.next();
      if (!(step instanceof Promise)) return step;
      return step.catch((error: unknown) => this.#failed(error));
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** An iterator that has thrown is at its end. */
  #failed(error: unknown): never {
    this.#ended = true;
    throw error;
  }

  #prepare(item: ImportedEvent, number: number, ids: Set<string>): PreparedImport {
    const { name, target } = this.#options;
    try {
      const prepared = prepareItem(item, target.maxEventBytes);
      if (item.id !== undefined) {
        if (ids.has(prepared.id)) throw new DuplicateEventError(prepared.id, prepared.stream);
        ids.add(prepared.id);
      }
      return prepared;
    } catch (error) {
      throw new ImportItemError(name, number, streamOf(item), error);
    }
  }
}

function prepareItem(item: ImportedEvent, maxEventBytes: number): PreparedImport {
  if (typeof item !== 'object' || item === null) {
    throw new InvalidArgumentError('item', item, 'must be an object with a stream and an event');
  }
  const { stream, recordedAt } = item;
  checkStream(stream);
  const { id, type, version, data, metadata } = prepareEvent(item, maxEventBytes);
  return { id, type, version, data, metadata, stream, recordedAt: recordedAt && timeOf(recordedAt) };
}

function timeOf(recordedAt: Date): number {
  const time = recordedAt instanceof Date ? recordedAt.getTime() : Number.NaN;
  if (Number.isNaN(time) || time < 0) {
    throw new InvalidArgumentError('recordedAt', recordedAt, 'must be a valid date since 1970');
  }
  return time;
}

function streamOf(item: unknown): string | undefined {
  const stream: unknown =
    typeof item === 'object' && item !== null && 'stream' in item ? item.stream : undefined;
  return typeof stream === 'string' ? stream : undefined;
}

/**
 * Gives the items of a chunk their places behind the end of the log. `revisions` has the revision of every stream, -1 for
 * a new one, and is brought forward.
 * @throws ImportItemError for a time that the log cannot take, or a stream that is archived
 */
export function placeImport(
  { name, after, items }: ImportChunk,
  tip: ImportTip,
  revisions: Map<string, number | 'archived'>,
): PlacedImport[] {
  let { recordedAt } = tip;
  return items.map(({ id, type, version, stream, data, metadata, recordedAt: given }, index) => {
    const problem = given === undefined ? undefined : timeProblem(given, recordedAt, tip.now);
    const last = revisions.get(stream) ?? -1;
    if (problem || last === 'archived') {
      throw new ImportItemError(name, after + index + 1, stream, problem ?? new StreamArchivedError(stream));
    }
    recordedAt = given ?? Math.max(tip.now, recordedAt);
    const revision = last + 1;
    revisions.set(stream, revision);
    const position = tip.position + index + 1;
    return { id, type, version, stream, revision, position, recordedAt, data, metadata };
  });
}

function timeProblem(given: number, last: number, now: number): Error | undefined {
  const value = new Date(given).toISOString();
  if (given < last) {
    const since = `must not lie before that of the event before it in the log, ${new Date(last).toISOString()}`;
    return new InvalidArgumentError('recordedAt', value, since);
  }
  // Every later event of the log would have to be recorded in the future too.
  if (given > Math.max(now, last))
    return new InvalidArgumentError('recordedAt', value, 'must not lie in the future');
  return undefined;
}
