import { createApplication, defineEvent, delivery, silentLogger, type Application } from '@refold/core';
import { expect } from 'chai';
import fc from 'fast-check';
import { Random } from '../crash/random.js';
import { Scheduler } from './scheduler.js';
import { SimulatedProcess } from './simulated-process.js';
import { simulatedStore } from './simulated-store.js';
import { World } from './world.js';

const Sent = defineEvent('Sent', (n: number) => ({ n, group: '' }));

type Command =
  | { readonly kind: 'append'; readonly sequence: string }
  /** An event, of those there are, is broken or mended. */
  | { readonly kind: 'break' | 'mend'; readonly which: number }
  | { readonly kind: 'retry'; readonly sequence: string }
  | { readonly kind: 'discard'; readonly which: number }
  /** The worker ends so many steps later, wherever it is then, and another comes. */
  | { readonly kind: 'crash'; readonly steps: number };

function commands(): fc.Arbitrary<Command[]> {
  const sequence = fc.constantFrom('a', 'b', 'c');
  const which = fc.nat(30);
  const one = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('append' as const), sequence }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('break' as const), which }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('mend' as const), which }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('retry' as const), sequence }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('discard' as const), which }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), steps: fc.nat(40) }) },
  );
  return fc.array(one, { maxLength: 25 });
}

/** One event in the model's queue; whoever was never tried is tried as soon as it is the first. */
interface Waiting {
  readonly n: number;
  tried: boolean;
}

/** What must come of it: a queue for each sequence, whose first event holds back the others. */
class Model {
  readonly handled = new Map<string, number[]>();
  readonly parked = new Map<string, Waiting[]>();
  readonly #broken: ReadonlySet<number>;

  constructor(broken: ReadonlySet<number>) {
    this.#broken = broken;
  }

  append(sequence: string, n: number): void {
    this.#queue(sequence).push({ n, tried: false });
    this.#work(sequence);
  }

  retry(sequence: string): void {
    const [first] = this.#queue(sequence);
    if (first) first.tried = false;
    this.#work(sequence);
  }

  discard(n: number): void {
    for (const [sequence, queue] of this.parked) {
      const index = queue.findIndex((one) => one.n === n);
      if (index < 0) continue;
      queue.splice(index, 1);
      this.#work(sequence);
    }
  }

  #work(sequence: string): void {
    const queue = this.#queue(sequence);
    for (let first = queue[0]; first && !first.tried; first = queue[0]) {
      first.tried = true;
      if (this.#broken.has(first.n)) return;
      queue.shift();
      this.handled.set(sequence, [...(this.handled.get(sequence) ?? []), first.n]);
    }
  }

  #queue(sequence: string): Waiting[] {
    const queue = this.parked.get(sequence) ?? [];
    this.parked.set(sequence, queue);
    return queue;
  }
}

/** A delivery in simulated time, worked on by one worker that now and then crashes. */
class Subject {
  readonly broken = new Set<number>();
  readonly handled = new Map<string, number[]>();
  readonly #scheduler: Scheduler;
  readonly #world: World;
  readonly #partitions: number;
  #process: SimulatedProcess | undefined;
  #app: Application | undefined;
  #workers = 0;
  #events = 0;

  constructor(seed: number, partitions: number) {
    const random = new Random(seed);
    this.#scheduler = new Scheduler(random);
    this.#world = new World(this.#scheduler, random);
    this.#partitions = partitions;
    this.#start();
  }

  /** How many events there are; they are numbered from 1. */
  get events(): number {
    return this.#events;
  }

  async append(sequence: string): Promise<void> {
    const n = ++this.#events;
    await this.#world.store.append(`sent-${sequence}`, [{ type: 'Sent', data: { n, group: '' } }]);
  }

  async retry(sequence: string): Promise<void> {
    await this.#command((app) =>
      app.processor('sending').deadLetters.retry({ sequence: `sent-${sequence}` }),
    );
  }

  async discard(n: number): Promise<void> {
    await this.#command((app) => app.processor('sending').deadLetters.discard({ position: n }, 'a test'));
  }

  /** The worker ends after some steps, and another takes its place. */
  async crash(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) await this.#scheduler.step();
    this.#process?.crash();
    this.#start();
  }

  /** Lets everything happen that is going to, unless somebody gives another command. */
  async rest(): Promise<void> {
    const until = this.#scheduler.now + 12_000;
    while (this.#scheduler.now < until && (await this.#scheduler.step()));
  }

  /** The events that are parked, by sequence. */
  async parked(): Promise<Map<string, number[]>> {
    const parked = new Map<string, number[]>();
    for (const { sequence, position } of await this.#world.store.deadLetters({
      processor: 'sending',
      generation: 1,
    })) {
      const key = sequence.slice('sent-'.length);
      parked.set(key, [...(parked.get(key) ?? []), position]);
    }
    return parked;
  }

  get violations(): readonly string[] {
    return this.#world.violations;
  }

  #start(): void {
    const process = new SimulatedProcess(`worker-${++this.#workers}`, this.#world);
    const store = simulatedStore(this.#world, process, () => {});
    const sending = delivery('sending', {
      partitions: this.#partitions,
      retry: { maxAttempts: 2, firstDelayMs: 10 },
      deadLetters: { retryAfterMs: [] },
    }).on(Sent, async ({ stream, data: { n } }) => {
      await process.turn(`sends ${n}`);
      if (this.broken.has(n)) throw new Error(`cannot send ${n}`);
      const sequence = stream.slice('sent-'.length);
      this.handled.set(sequence, [...(this.handled.get(sequence) ?? []), n]);
    });
    const app = createApplication({
      store,
      clock: process.clock,
      logger: silentLogger,
      deliveries: [sending],
    });
    void app.worker({ name: process.name, leaseMs: 1000, batchSize: 2 }).run();
    this.#process = process;
    this.#app = app;
  }

  async #command(give: (app: Application) => Promise<unknown>): Promise<void> {
    if (!this.#app) return;
    let done = false;
    // There may be no letter (any more).
    void give(this.#app).then(
      () => (done = true),
      () => (done = true),
    );
    while (!done && (await this.#scheduler.step()));
  }
}

/** Without what was repeated: a crash may repeat the last events, in their order, never earlier ones. */
function firsts(sequence: readonly number[]): number[] {
  return sequence.filter((n, index) => sequence.indexOf(n) === index);
}

async function run(subject: Subject, model: Model, command: Command): Promise<void> {
  switch (command.kind) {
    case 'append':
      await subject.append(command.sequence);
      return model.append(command.sequence, subject.events);
    case 'break':
      // Only those to come: what has been handled is handled.
      return void subject.broken.add(subject.events + 1 + (command.which % 3));
    case 'mend':
      return void subject.broken.delete(
        [...subject.broken][command.which % Math.max(1, subject.broken.size)] ?? 0,
      );
    case 'retry':
      await subject.retry(command.sequence);
      return model.retry(command.sequence);
    case 'discard': {
      const parked = [...model.parked.values()].flat();
      const one = parked[command.which % Math.max(1, parked.length)];
      if (!one) return;
      await subject.discard(one.n);
      return model.discard(one.n);
    }
    case 'crash':
      return subject.crash(command.steps);
  }
}

describe('dead letters, compared with a queue for each sequence', () => {
  it('hold back exactly what comes after them, and let go of it in order, whatever is retried, discarded or crashes', async function () {
    this.timeout(120_000);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.integer({ min: 1, max: 3 }),
        commands(),
        async (seed, partitions, all) => {
          const subject = new Subject(seed, partitions);
          const model = new Model(subject.broken);
          for (const [index, command] of all.entries()) {
            await run(subject, model, command);
            // A crash comes while what was asked for before it is being done.
            if (all[index + 1]?.kind === 'crash') continue;
            await subject.rest();
            const parked = [...model.parked].filter(([, queue]) => queue.length > 0);
            expect(await subject.parked()).to.deep.equal(
              new Map(parked.map(([sequence, queue]) => [sequence, queue.map(({ n }) => n)])),
            );
            const handled = [...subject.handled].map(([sequence, ns]) => [sequence, firsts(ns)] as const);
            expect(new Map(handled)).to.deep.equal(model.handled);
          }
          expect(subject.violations).to.deep.equal([]);
        },
      ),
      { numRuns: 60 },
    );
  });
});
