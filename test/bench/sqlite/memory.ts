import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Bench } from '../harness.js';
import type { Logs } from './logs.js';
import type { Memory } from './memory-child.js';

/** What a longer log may add. A log that is held in memory adds 600 bytes an event at least. */
const LIVE_GROWTH_MB = 32;
const PEAK_GROWTH_MB = 200;

/** Reads and projects the shortest and the longest log, each in a process of its own, and compares what they needed. */
export async function compareMemory(bench: Bench, logs: readonly Logs[]): Promise<void> {
  bench.note('memory of reading and projecting');
  const [short, long] = [logs[0], logs.at(-1)];
  if (!short || !long) return;
  const ours = await measure('ours', long.file, long.length);
  const raw = await measure('raw', long.rawFile, long.length);
  const least = await measure('ours', short.file, short.length);
  const common = { unit: 'MB', length: long.length, n: long.length };
  bench.add({
    ...common,
    name: 'memory in use while reading and projecting',
    ours: ours.liveMb,
    raw: raw.liveMb,
    correct: ours.liveMb - least.liveMb <= LIVE_GROWTH_MB,
  });
  bench.add({
    ...common,
    name: 'peak memory of the process that reads and projects',
    ours: ours.peakMb,
    raw: raw.peakMb,
    correct: ours.peakMb - least.peakMb <= PEAK_GROWTH_MB,
  });
}

async function measure(side: 'ours' | 'raw', file: string, length: number): Promise<Memory> {
  const child = fileURLToPath(new URL('memory-child.js', import.meta.url));
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ['--expose-gc', child, side, file, String(length)]);
  return JSON.parse(stdout) as Memory;
}
