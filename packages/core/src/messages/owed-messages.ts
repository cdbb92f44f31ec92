import type { Generation, StateStore } from '../store/state-store.js';
import type { RecordedEvent } from '../store/event-store.js';

type Owner = Pick<Generation, 'processor' | 'generation'>;

const PAGE = 100;

/** What is still owed to processors: all of the log behind a position, and dead letters before it. */
export class OwedMessages {
  /** Every processor has done with the log up to here, but for its dead letters. */
  readonly position: number;
  /** The one that is least far; undefined where there is none. */
  readonly processor: string | undefined;
  readonly #state: StateStore;
  readonly #withLetters: readonly Owner[];

  private constructor(
    state: StateStore,
    least: { readonly position: number; readonly processor?: string },
    withLetters: readonly Owner[],
  ) {
    this.#state = state;
    this.position = least.position;
    this.processor = least.processor;
    this.#withLetters = withLetters;
  }

  /**
   * Looks at all processors that the store knows, and at those named, which may not have begun: builds count, those that were
   * replaced and those that are only compared do not.
   */
  static async look(
    state: StateStore,
    { own, except }: { readonly own: readonly string[]; readonly except: string },
  ): Promise<OwedMessages> {
    const partitions = (await state.partitions()).filter(({ processor }) => processor !== except);
    const names = new Set([...own, ...partitions.map(({ processor }) => processor)]);
    const working: Owner[] = [];
    let least: { position: number; processor?: string } = { position: Infinity };
    const atMost = (position: number, processor: string): void => {
      if (position < least.position) least = { position, processor };
    };
    for (const name of names) {
      const all = (await state.generations(name)).filter((one) => one.status !== 'retired' && !one.shadow);
      working.push(...all);
      if (own.includes(name) && !all.some(({ status }) => status === 'live')) atMost(0, name);
      for (const { processor, generation, position } of partitions) {
        if (processor === name && all.some((one) => one.generation === generation)) atMost(position, name);
      }
    }
    const letters = await state.countDeadLetters();
    const withLetters = letters.filter((one) =>
      working.some(
        ({ processor, generation }) => processor === one.processor && generation === one.generation,
      ),
    );
    return new OwedMessages(state, least, withLetters);
  }

  /** Which of some events, in their order, are dead letters that hold something back: the processors by the positions. */
  async deadLettersAmong(events: readonly RecordedEvent[]): Promise<ReadonlyMap<number, string>> {
    const found = new Map<number, string>();
    const [first, last] = [events[0], events.at(-1)];
    if (!first || !last) return found;
    const positions = new Set(events.map(({ position }) => position));
    for (const owner of this.#withLetters) {
      for await (const position of this.#letters(owner, first.position, last.position)) {
        if (positions.has(position)) found.set(position, owner.processor);
      }
    }
    return found;
  }

  async *#letters(
    { processor, generation }: Owner,
    from: number,
    to: number,
  ): AsyncGenerator<number, void, undefined> {
    for (let after = from - 1; after < to;) {
      const page = await this.#state.deadLetters({ processor, generation, after, limit: PAGE });
      for (const { position } of page) yield position;
      if (page.length < PAGE) return;
      after = page.at(-1)?.position ?? to;
    }
  }
}
