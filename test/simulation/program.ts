import { createApplication, silentLogger, type Application, type Lease, type Worker } from '@refold/core';
import { chain, mails, pings, totals, Moved, Noise, Renamed, type HandlerContext } from './domain.js';
import type { Ledger } from './ledger.js';
import type { Plan } from './plan.js';
import { SimulatedProcess } from './simulated-process.js';
import { simulatedStore } from './simulated-store.js';
import type { World } from './world.js';

/** What every program of a run is made with. */
export interface ProgramOptions {
  readonly seed: number;
  readonly plan: Plan;
  readonly world: World;
  readonly ledger: Ledger;
}

/** One process with one application, in one version of its code. */
export class Program {
  readonly process: SimulatedProcess;
  readonly version: number;
  readonly app: Application;
  readonly store: ReturnType<typeof simulatedStore>;
  readonly #options: ProgramOptions;
  readonly #leases = new Map<string, Lease>();
  readonly #stop = new AbortController();
  #ended = true;

  constructor(name: string, version: number, options: ProgramOptions) {
    const { world, plan } = options;
    this.process = new SimulatedProcess(name, world);
    this.version = version;
    this.#options = options;
    this.store = simulatedStore(world, this.process, (lease) =>
      this.#leases.set(`${lease.processor} ${lease.generation}`, lease),
    );
    const context: HandlerContext = {
      ...options,
      process: this.process,
      newestLease: (processor, generation) => this.#leases.get(`${processor} ${generation}`),
    };
    const specs = new Map(plan.processors.map((spec) => [spec.name, spec]));
    const [total, chained, mail, ping] = (['totals', 'chain', 'mails', 'pings'] as const).map((of) =>
      specs.get(of),
    );
    this.app = createApplication({
      store: this.store,
      clock: this.process.clock,
      logger: silentLogger,
      events: [Moved, Renamed, Noise],
      projections: [
        ...(total ? [totals(total, version, context)] : []),
        ...(chained ? [chain(chained, version, context)] : []),
      ],
      deliveries: [...(mail ? [mails(mail, context)] : []), ...(ping ? [pings(ping, context)] : [])],
    });
  }

  /** Whether its worker has ended, or was never started. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether it is there, as far as anybody can tell. */
  get alive(): boolean {
    return !this.process.crashed && !(this.#ended && this.#stop.signal.aborted);
  }

  /** Starts its worker; `onEnd` learns with what it ended. */
  work(onEnd: (error: unknown) => void): void {
    const { leaseMs, batchSize } = this.#options.plan;
    const worker: Worker = this.app.worker({ name: this.process.name, leaseMs, batchSize });
    this.#ended = false;
    void worker
      .run({ signal: this.#stop.signal })
      .then(
        () => undefined,
        (error: unknown) => error,
      )
      .then((error) => {
        this.#ended = true;
        onEnd(error);
      });
  }

  /** Asks its worker to end. */
  stop(): void {
    this.#options.world.scheduler.note(`${this.process.name} is asked to end`);
    this.#stop.abort();
  }
}
