import type { SentPlace, SliceProgress, SliceRange, Subscription } from '@refold/core';

/** Something that the log of positions keeps under a key; without a value, that it is gone. */
export interface PositionEntry {
  readonly key: string;
  readonly value?: string;
}

/** Writes to the log of positions, under one name, until somebody else begins to write under it. */
export interface PositionWriter<Records> {
  /** Writes entries, and the records with them: all of it, or nothing. @throws also when it was shut out */
  commit(entries: readonly PositionEntry[], records?: Records): Promise<void>;
  close(): Promise<void>;
}

/** A log of positions: entries in one total order, of which the newest of each key is kept. */
export interface PositionLog<Records> {
  /** Begins to write under a name; whoever does so now is shut out for good. */
  write(name: string): Promise<PositionWriter<Records>>;
  /** What is known of the log as soon as it is enough; it is read in order, and only what was committed. */
  known(
    isEnough: (entries: ReadonlyMap<string, string>) => boolean,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>>;
}

/** A range that is open for sending. */
export interface OpenRange<Records> {
  has(place: SentPlace): boolean;
  /** Sends records together with the position up to which the range is done. @throws what the log does; it is of no use then */
  send(records: Records, through: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a range of slices of one generation of a delivery, so that nobody else can send any of these slices from now on, and
 * everything that was sent of them is known.
 *
 * The log of positions is a compacted topic of one partition. It has two kinds of entries for each range that was ever opened:
 * - its *position*: every event of these slices up to there was sent. It is written in the transaction that sends them.
 * - its *claim*: a random word that says that somebody has opened it, written before anything is sent.
 * Whoever writes either does so under a name of the exact range (its transactional id), which fences the sender before it.
 * That is enough while ranges stay as they are. When partitions were split or merged, a sender of the range before, which
 * has another name, may be about to commit still. So, to open a range:
 *
 * 1. Take its name. Earlier senders of the same range are fenced.
 * 2. Write a claim with a new word, and read the log until that word comes, or a claim of an overlapping range.
 * 3. Fence the senders of all overlapping ranges that have claims, by taking their names and giving them back.
 * 4. Begin again at 2, until no claim was found that is not fenced already.
 *
 * Of two that open overlapping ranges, one claim is behind the other in the log, and whoever wrote that reads the other's.
 * So at least one of them is fenced before it can send; if it is the rightful one it opens anew, and the one that has lost
 * its lease gives up. And the positions that the last reading has found are final: whoever could have written to them is
 * fenced, and the word was written behind all that they wrote.
 *
 * An event was sent if the position of any range that has its slice is at or behind its own: what a split or a merge leaves
 * behind is honoured without being copied. It is removed when it tells nothing more, with the next transaction: claims of
 * who is fenced; the position of a range that lies within the own one, which is further; and that of a range around the own
 * one when the ranges within it have all come as far. A claim that is removed while its range is opened anew is not lost:
 * whoever removes it has been read, and is fenced, before the last claim is written.
 */
export async function openRange<Records>(
  log: PositionLog<Records>,
  subscription: Subscription,
  { signal, word }: { readonly signal: AbortSignal; readonly word: () => string },
): Promise<OpenRange<Records>> {
  const { firstSlice, lastSlice } = subscription;
  const own = { firstSlice, lastSlice };
  const names = new RangeNames(subscription);
  const writer = await log.write(names.position(own));
  try {
    const fenced = new Map<string, string>();
    for (;;) {
      const claim = word();
      await writer.commit([{ key: names.claim(own), value: claim }]);
      const claimed = (entries: ReadonlyMap<string, string>): boolean =>
        entries.get(names.claim(own)) === claim;
      const unfenced = (entries: ReadonlyMap<string, string>): readonly Claim[] =>
        names
          .claims(entries)
          .filter(
            (one) => overlap(one, own) && !isSame(one, own) && fenced.get(names.claim(one)) !== one.word,
          );
      const entries = await log.known((now) => claimed(now) || unfenced(now).length > 0, signal);
      const rivals = unfenced(entries);
      if (rivals.length === 0) return new Range(log, writer, names, own, names.progress(entries), fenced);
      for (const rival of rivals) {
        await (await log.write(names.position(rival))).close();
        fenced.set(names.claim(rival), rival.word);
      }
    }
  } catch (error) {
    await writer.close().catch(() => undefined);
    throw error;
  }
}

class Range<Records> implements OpenRange<Records> {
  readonly #log: PositionLog<Records>;
  readonly #writer: PositionWriter<Records>;
  readonly #names: RangeNames;
  readonly #own: SliceRange;
  #position: number;
  /** How far other ranges are that overlap. */
  #others: readonly SliceProgress[];
  /** Keys of claims whose senders are fenced. */
  #over: readonly string[];

  constructor(
    log: PositionLog<Records>,
    writer: PositionWriter<Records>,
    names: RangeNames,
    own: SliceRange,
    progress: readonly SliceProgress[],
    fenced: ReadonlyMap<string, string>,
  ) {
    this.#log = log;
    this.#writer = writer;
    this.#names = names;
    this.#own = own;
    this.#position = progress.find((one) => isSame(one, own))?.position ?? 0;
    this.#others = progress.filter((one) => overlap(one, own) && !isSame(one, own));
    this.#over = [...fenced.keys()];
  }

  has({ slice, position }: SentPlace): boolean {
    if (position <= this.#position) return true;
    return this.#others.some(
      (one) => one.firstSlice <= slice && slice <= one.lastSlice && position <= one.position,
    );
  }

  async send(records: Records, through: number): Promise<void> {
    const position = Math.max(this.#position, through);
    const passed = await this.#passedAt(position);
    const keys = [...this.#over, ...passed.map((one) => this.#names.position(one))];
    const own = { key: this.#names.position(this.#own), value: JSON.stringify({ position }) };
    await this.#writer.commit([own, ...keys.map((key) => ({ key }))], records);
    this.#position = position;
    this.#over = [];
    this.#others = this.#others.filter((one) => !passed.includes(one));
  }

  close(): Promise<void> {
    return this.#writer.close();
  }

  /** The other ranges that tell nothing more when the own one has come so far. */
  async #passedAt(position: number): Promise<readonly SliceProgress[]> {
    const behind = this.#others.filter((one) => one.position <= position);
    const around = behind.some((one) => contains(one, this.#own));
    // What is known already will do: ranges come no less far.
    const entries = around ? await this.#log.known(() => true, new AbortController().signal) : undefined;
    const known = entries ? this.#names.progress(entries).filter((one) => !isSame(one, this.#own)) : [];
    const now = [...known, { ...this.#own, position }];
    return behind.filter(
      (one) => contains(this.#own, one) || (contains(one, this.#own) && isMadeUpOf(one, now)),
    );
  }
}

/** Whether all slices of a range are in smaller ranges within it that have come at least as far. */
function isMadeUpOf(range: SliceProgress, parts: readonly SliceProgress[]): boolean {
  const within = parts
    .filter((one) => contains(range, one) && !isSame(range, one) && one.position >= range.position)
    .sort((one, other) => one.firstSlice - other.firstSlice);
  let next = range.firstSlice;
  for (const { firstSlice, lastSlice } of within) {
    if (firstSlice <= next) next = Math.max(next, lastSlice + 1);
  }
  return next > range.lastSlice;
}

interface Claim extends SliceRange {
  readonly word: string;
}

/** How the entries of one generation of a delivery are called: `orders_out/1/0-1023`, and its claim with `/claim` behind it. */
class RangeNames {
  readonly #prefix: string;

  constructor({ delivery, generation }: Pick<Subscription, 'delivery' | 'generation'>) {
    this.#prefix = `${delivery}/${generation}/`;
  }

  position({ firstSlice, lastSlice }: SliceRange): string {
    return `${this.#prefix}${firstSlice}-${lastSlice}`;
  }

  claim(range: SliceRange): string {
    return `${this.position(range)}/claim`;
  }

  claims(entries: ReadonlyMap<string, string>): Claim[] {
    return this.#parsed(entries, true).map(([range, word]) => ({ ...range, word }));
  }

  progress(entries: ReadonlyMap<string, string>): SliceProgress[] {
    return this.#parsed(entries, false).map(([range, value]) => {
      const { position } = JSON.parse(value) as { readonly position: number };
      return { ...range, position };
    });
  }

  #parsed(entries: ReadonlyMap<string, string>, claims: boolean): [SliceRange, string][] {
    const found: [SliceRange, string][] = [];
    for (const [key, value] of entries) {
      if (!key.startsWith(this.#prefix)) continue;
      const [, first, last, claim] = /^(\d+)-(\d+)(\/claim)?$/.exec(key.slice(this.#prefix.length)) ?? [];
      if (first === undefined || (claim !== undefined) !== claims) continue;
      found.push([{ firstSlice: Number(first), lastSlice: Number(last) }, value]);
    }
    return found;
  }
}

function overlap(one: SliceRange, other: SliceRange): boolean {
  return one.firstSlice <= other.lastSlice && other.firstSlice <= one.lastSlice;
}

function contains(outer: SliceRange, inner: SliceRange): boolean {
  return outer.firstSlice <= inner.firstSlice && inner.lastSlice <= outer.lastSlice;
}

function isSame(one: SliceRange, other: SliceRange): boolean {
  return one.firstSlice === other.firstSlice && one.lastSlice === other.lastSlice;
}
