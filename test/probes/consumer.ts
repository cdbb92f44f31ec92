import {
  createApplication,
  defineEvent,
  documentProjection,
  silentLogger,
  type Application,
  type Store,
} from '@refold/core';

/** A number, to be told apart from all others of its stream. */
export const Numbered = defineEvent('Numbered', (n: number) => ({ n }));

/** What a consumer got, in its order. */
export interface Consumer {
  readonly app: Application;
  /** Every call of a handler: the position of its event. */
  readonly handled: number[];
  /** The numbers of one stream, as the read model has them. */
  numbers(key: string): Promise<readonly number[]>;
  waitFor(position: number): Promise<void>;
  /** Ends its worker. */
  stop(): Promise<void>;
}

/** An application with one projection, and unless told otherwise a worker that follows the log. */
export function consumer(
  store: Store,
  {
    name = 'numbers',
    leaseMs = 1000,
    follow = true,
  }: { name?: string; leaseMs?: number; follow?: boolean } = {},
): Consumer {
  const handled: number[] = [];
  const projection = documentProjection(name, { initial: (): { list: number[] } => ({ list: [] }) }).on(
    Numbered,
    ({ list }, { data, position }) => {
      handled.push(position);
      return { list: [...list, data.n] };
    },
  );
  const app = createApplication({ store, projections: [projection], logger: silentLogger });
  const controller = new AbortController();
  const running = follow ? app.worker({ leaseMs }).run({ signal: controller.signal }) : Promise.resolve();
  return {
    app,
    handled,
    numbers: async (key) => (await app.readModel(projection).get(key))?.list ?? [],
    waitFor: (position) => app.waitFor(projection, position),
    async stop() {
      controller.abort();
      await running;
    },
  };
}

/** `from`, `from + 1`, … : so many. */
export function count(from: number, length: number): number[] {
  return Array.from({ length }, (_, index) => from + index);
}
