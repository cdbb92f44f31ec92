import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configsFor } from './starter/configs.js';
import { BadArgument, HELP, parseOptions, type Options } from './starter/options.js';
import { Shop } from './starter/shop.js';
import { tellStory } from './starter/story.js';

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options.help) {
      print(HELP);
      return 0;
    }
    return (await runShop(options)) ? 0 : 1;
  } catch (error) {
    if (!(error instanceof BadArgument)) throw error;
    process.stderr.write(`${error.message}\n\n${HELP}\n`);
    return 2;
  }
}

async function runShop(options: Options): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'refold-fulfilment-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  // A signal ends a process without its exit handlers, unless somebody listens.
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
  const shop = new Shop(await configsFor(options, folder), options.verbose);
  await shop.open();
  print(`Five services are up, on ${options.store}, talking by ${options.transport}.`);
  try {
    return await tellStory(shop, { ...options, hasBroker: options.transport !== 'webhook', print });
  } finally {
    await shop.close();
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
