import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  createApplication,
  memoryStore,
  pendingEvents,
  revisionOf,
  type Aggregate,
  type AggregateClass,
} from '@refold/core';
import { transform as transformBySwc } from '@swc/core';
import { expect } from 'chai';
import { transform as transformByEsbuild } from 'esbuild';
import ts from 'typescript';

/** What the domain file exports, as far as this test calls it. */
interface Domain {
  readonly Order: AggregateClass<Order>;
  readonly OrderPlaced: new (total: number) => object;
}

interface Order extends Aggregate {
  readonly total: number;
  readonly changes: number;
  readonly notes: string[];
  place(total: number): void;
  ship(): void;
  note(text: string): void;
}

type Compile = (source: string, legacy: boolean) => Promise<string> | string;

const compilers: Record<string, Compile> = {
  tsc: (source, legacy) =>
    ts.transpileModule(source, {
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        experimentalDecorators: legacy,
      },
    }).outputText,
  swc: async (source, legacy) => {
    const { code } = await transformBySwc(source, {
      configFile: false,
      swcrc: false,
      module: { type: 'es6' },
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript', decorators: true },
        transform: legacy ? { legacyDecorator: true } : { decoratorVersion: '2022-03' },
      },
    });
    return code;
  },
  esbuild: async (source, legacy) => {
    const { code } = await transformByEsbuild(source, {
      loader: 'ts',
      format: 'esm',
      target: 'es2022',
      tsconfigRaw: { compilerOptions: { experimentalDecorators: legacy } },
    });
    return code;
  },
};

describe('decorators', () => {
  // Inside the package, so that what is compiled finds @refold/core.
  const here = fileURLToPath(new URL('.', import.meta.url));
  let folder: string;
  let source: string;

  before(async () => {
    folder = await mkdtemp(join(here, 'decorators-'));
    source = await readFile(new URL('../test/fixtures/domain.ts', import.meta.url), 'utf8');
  });
  after(() => rm(folder, { recursive: true }));

  for (const [name, compile] of Object.entries(compilers)) {
    for (const kind of ['standard', 'legacy'] as const) {
      it(`work as ${kind} decorators by ${name}`, async () => {
        const code = await compile(source, kind === 'legacy');
        const file = join(folder, `${name}-${kind}.mjs`);
        await writeFile(file, code);
        const domain = (await import(pathToFileURL(file).href)) as Domain;
        expect(code).to.not.equal(await compile(source, kind !== 'legacy'));
        expect(code).to.not.match(/design:|^\s*@/m);
        await behaves(domain);
      });
    }
  }
});

/** The same story for every build of the domain. */
async function behaves({ Order, OrderPlaced }: Domain): Promise<void> {
  const fresh = new Order('0');
  fresh.place(5);
  expect(fresh.total).to.equal(5);
  expect(pendingEvents(fresh)).to.deep.equal([new OrderPlaced(5)]);

  const store = memoryStore();
  const orders = createApplication({ store, aggregates: [Order] }).repository(Order);
  await store.append('order-1', [
    { type: 'OrderPlaced', data: { sum: 7 } },
    { type: 'OrderCommented', data: { text: 'fragile' } },
  ]);
  await orders.update('1', (order) => order.note('heavy'));
  await orders.update('1', (order) => order.ship());
  expect(await store.loadSnapshot('order-1')).to.deep.include({
    revision: 3,
    state: { total: 7, changes: 4, notes: ['fragile', 'heavy'] },
  });
  const order = await orders.load('1');
  expect(order).to.deep.include({ total: 7, changes: 4, notes: ['fragile', 'heavy'] });
  expect(revisionOf(order)).to.equal(3);
  const stored = await store.readStream('order-1', { from: 2 }).toArray();
  expect(stored.map(({ type, version, data }) => ({ type, version, data }))).to.deep.equal([
    { type: 'OrderNoted', version: 1, data: { text: 'heavy' } },
    { type: 'OrderShipped', version: 1, data: {} },
  ]);
}
