import { sqliteStore } from '@refold/sqlite';
import { statements } from '../accounts.js';
import { collectGarbage } from '../harness.js';
import { accountsApplication } from './logs.js';
import { RawSqlite } from './raw.js';

/** What one process needed to read a log and to project it. */
export interface Memory {
  /** The most that was in use at any of the looks, after collecting garbage, beyond what was in use at the start. */
  readonly liveMb: number;
  /** The most that the process ever held of the machine's memory. */
  readonly peakMb: number;
}

const PROJECTION = 'remembered';

/** Looks at the memory in use about ten times on the way through the log. */
class MemoryWatch {
  readonly #every: number;
  readonly #start: number;
  #seen = 0;
  #most = 0;

  constructor(length: number) {
    this.#every = length / 10;
    this.#start = inUse();
  }

  advance(events: number): void {
    const before = Math.floor(this.#seen / this.#every);
    this.#seen += events;
    if (Math.floor(this.#seen / this.#every) > before) this.#most = Math.max(this.#most, inUse());
  }

  /** @throws Error if fewer events came by than the log has, twice over: read once, projected once. */
  result(length: number): Memory {
    if (this.#seen !== 2 * length) throw new Error(`${this.#seen} events came by, not ${2 * length}`);
    return {
      liveMb: Math.max(0, this.#most - this.#start) / 2 ** 20,
      peakMb: process.resourceUsage().maxRSS / 2 ** 10,
    };
  }
}

function inUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function ours(file: string, length: number): Promise<Memory> {
  await using store = await sqliteStore(file);
  const application = accountsApplication(store, PROJECTION);
  const watch = new MemoryWatch(length);
  for await (const { events } of application.events().batches()) watch.advance(events.length);
  let projected = 0;
  await application.catchUp({
    onProgress: ({ position }) => {
      watch.advance(position - projected);
      projected = position;
    },
  });
  if ((await application.readModel(statements(PROJECTION)).count()) === 0) throw new Error('no documents');
  return watch.result(length);
}

function byHand(file: string, length: number): Memory {
  const raw = new RawSqlite(file);
  const watch = new MemoryWatch(length);
  for (const events of raw.read()) watch.advance(events.length);
  raw.project(PROJECTION, (events) => watch.advance(events));
  raw.close();
  return watch.result(length);
}

const [side, file = '', length = ''] = process.argv.slice(2);
const memory = side === 'ours' ? await ours(file, Number(length)) : byHand(file, Number(length));
console.log(JSON.stringify(memory));
