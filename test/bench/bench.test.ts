import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, it } from 'mocha';
import type { Row } from './harness.js';

describe('the benchmark of PostgreSQL', () => {
  it('runs in its short form, and every side does its work', async function () {
    this.timeout(300_000);
    const folder = await mkdtemp(join(tmpdir(), 'refold-bench-'));
    try {
      const json = join(folder, 'rows.json');
      const main = fileURLToPath(new URL('main.js', import.meta.url));
      // It fails for a row that is not correct, which is looked for below.
      const run = promisify(execFile)(process.execPath, [main, 'postgres', '--quick', '--json', json]);
      const failure: unknown = await run.then(
        () => undefined,
        (error: unknown) => error,
      );
      if (!existsSync(json)) throw failure;
      const rows = (await readFile(json, 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Row);
      const names = rows.map(({ name }) => name);
      for (const begin of [
        'append 1 ',
        'append 100 ',
        '100 callers',
        'import',
        'read',
        'project',
        'append to handler',
      ]) {
        expect(
          names.some((name) => name.startsWith(begin)),
          begin,
        ).to.equal(true);
      }
      expect(rows.filter(({ correct }) => !correct)).to.deep.equal([]);
      for (const { name, ours, raw } of rows) expect(Math.min(ours, raw), name).to.be.above(0);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
