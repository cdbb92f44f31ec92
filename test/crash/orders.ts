import type { Logger } from '@refold/core';
import type { ProjectionName } from './domain.js';

/** What a process is told when it starts. */
export interface Orders {
  readonly target: string;
  readonly place: string;
  readonly seed: number;
  /** Tells the processes of a run apart. */
  readonly life: number;
  /** The version of every projection. */
  readonly version: number;
  /** The file that it writes: a journal of appends, or marks of batches. */
  readonly file: string;
  /** It kills itself when its handlers are called for the event of this number. */
  readonly dieAtEvent: number | undefined;
  /** It kills itself when so many of its appends or batches are committed, before it takes note of the last one. */
  readonly dieAtCommit: number | undefined;
}

/** For a writer: the journals of those before it, whose open appends it settles first. */
export interface WriterOrders extends Orders {
  readonly earlier: readonly string[];
}

/** For a worker: what it rebuilds while it follows the log. */
export interface WorkerOrders extends Orders {
  readonly rebuild: ProjectionName | undefined;
}

/** What a process tells its parent: that it works, and of every append acknowledged or batch committed. */
export type Report = 'ready' | 'step';

/** The orders of this process. A process whose parent is gone ends. */
export function takeOrders<Expected extends Orders>(): Expected {
  process.on('disconnect', () => process.exit());
  return JSON.parse(process.argv[2] ?? '') as Expected;
}

export function report(what: Report): void {
  process.send?.(what);
}

/** Counts its calls, and kills this process in the one of that number. */
export function deathAt(call: number | undefined): () => void {
  let calls = 0;
  return () => {
    calls += 1;
    if (calls === call) process.kill(process.pid, 'SIGKILL');
  };
}

/** How long leases last, short so that the next worker need not wait. */
export const LEASE_MS = 300;

/** Nothing may stop in a process that waits for its end: what is an error to the log is one to the run. */
export const strictLogger: Logger = {
  info: () => {},
  warn: (message) => console.error(message),
  error: (message, cause) => {
    console.error(message, cause ?? '');
    process.exit(1);
  },
};
