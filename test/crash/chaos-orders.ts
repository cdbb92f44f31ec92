import type { ProcessorName } from './chaos-domain.js';

/** What a process is told when it starts. */
export interface ChaosOrders {
  readonly target: string;
  readonly place: string;
  /** Where journals, effects and messages are written. */
  readonly folder: string;
  readonly seed: number;
  /** Tells the processes of a round apart. */
  readonly life: number;
  /** The version of the projections that can be rebuilt. */
  readonly version: number;
}

/** What a worker is told to do to a processor. */
export interface Steering {
  readonly what:
    'split' | 'merge' | 'pause' | 'resume' | 'rebuild' | 'rollback' | 'reset' | 'retry' | 'discard';
  readonly processor: ProcessorName;
  /** How long a pause lasts. */
  readonly holdMs: number;
}

export interface Command {
  readonly id: number;
  readonly steering: Steering;
}

/** What became of a command: `done`, or the code of the error that it ended with. */
export interface Answer {
  readonly id: number;
  readonly outcome: string;
  /** What must never be. */
  readonly problem?: string;
}

/** What a process tells its parent: that it works, or what became of a command. */
export type Message = 'ready' | Answer;

/** What a parent tells a process: a command, or that it is to end its work. */
export type Order = 'stop' | Command;

export const LEASE_MS = 600;

/** Events in one batch, at most. */
export const BATCH_SIZE = 25;

/** More partitions than that are merged instead of split. */
export const MOST_PARTITIONS = 6;

/** The orders of this process. A process whose parent is gone ends. */
export function takeChaosOrders(): ChaosOrders {
  process.on('disconnect', orphaned);
  return JSON.parse(process.argv[2] ?? '') as ChaosOrders;
}

/** Ends the talk with the parent: a process that has nothing open ends then. */
export function leave(): void {
  process.off('disconnect', orphaned);
  if (process.connected) process.disconnect();
}

export function tell(message: Message): void {
  if (process.connected) process.send?.(message);
}

function orphaned(): void {
  process.exit();
}
