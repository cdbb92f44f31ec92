// `npm test`: the tests of the packages and those of the whole, side by side, since both wait more than they compute.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

const HALVES = ['packages/*/dist-test/**/*.test.js', 'test/dist/**/*.test.js'];
const COUNTED = ['passing', 'pending', 'failing'] as const;
/** How long a half may take to end by itself when its tests are over. */
const END_MS = 60_000;

const mocha = join(dirname(createRequire(import.meta.url).resolve('mocha/package.json')), 'bin/mocha.js');

class Half {
  /** Resolves to the exit code: null where a signal ended it. */
  readonly ended: Promise<number | null>;
  #output = '';
  #isShown = false;

  constructor(args: readonly string[]) {
    const child = spawn(process.execPath, [mocha, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let endsBy: NodeJS.Timeout | undefined;
    const say = (text: string): void => {
      this.#output += text;
      if (this.#isShown) process.stdout.write(text);
    };
    const end = (): void => {
      say('\nSomething that a test left open keeps the process running: ended.\n');
      child.kill('SIGKILL');
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        say(text);
        if (this.count('passing', text) !== undefined) endsBy ??= setTimeout(end, END_MS);
      });
    }
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        clearTimeout(endsBy);
        resolve(code);
      });
    });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  }

  /** Prints what it has said, and from then on what it says. */
  show(): void {
    this.#isShown = true;
    process.stdout.write(this.#output);
  }

  /** The number before a word of mocha's summary; undefined where it is not there. */
  count(word: (typeof COUNTED)[number], output = this.#output): number | undefined {
    const plain = stripVTControlCharacters(output);
    const number = new RegExp(`^ *(\\d+) ${word}\\b`, 'm').exec(plain)?.[1];
    return number === undefined ? undefined : Number(number);
  }

  /** Mocha's account of the failures. */
  get failures(): string {
    return /^ *\d+ failing\b[^]*/m.exec(stripVTControlCharacters(this.#output))?.[0] ?? '';
  }
}

const running = HALVES.map((spec) => new Half([spec, ...process.argv.slice(2)]));
const codes: (number | null)[] = [];
for (const half of running) {
  half.show();
  codes.push(await half.ended);
}
for (const { failures } of running) if (failures !== '') process.stdout.write(`\n${failures}`);
process.stdout.write('\nBoth halves together:\n');
for (const word of COUNTED) {
  process.stdout.write(`  ${running.reduce((sum, half) => sum + (half.count(word) ?? 0), 0)} ${word}\n`);
}
process.exitCode = codes.every((code) => code === 0) ? 0 : 1;
