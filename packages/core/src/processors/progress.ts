import type { Clock } from '../clock.js';

/** How far a run has come. */
export interface Progress {
  readonly processor: string;
  /** Events handled since the run began; those that the projection does not handle are not counted. */
  readonly events: number;
  /** The checkpoint. */
  readonly position: number;
  /** The position that the run is heading for. */
  readonly target: number;
  /** What is done of the way from where the run began to the target, 0 to 1. */
  readonly fraction: number;
  /** Positions passed a second, over the whole run. */
  readonly rate: number;
  /** Milliseconds left at that rate; 0 at the target, undefined before there is a rate. */
  readonly remainingMs: number | undefined;
}

/** Receives progress after every commit; what it throws stops the run. */
export type OnProgress = (progress: Progress) => void;

/** Measures one run of one processor. */
export class ProgressMeter {
  readonly #processor: string;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #start: number;
  #events = 0;

  constructor(processor: string, start: number, clock: Clock) {
    this.#processor = processor;
    this.#clock = clock;
    this.#start = start;
    this.#startedAt = clock.now();
  }

  advance(events: number): void {
    this.#events += events;
  }

  at(position: number, target: number): Progress {
    const seconds = (this.#clock.now() - this.#startedAt) / 1000;
    const done = position - this.#start;
    const rate = seconds > 0 ? done / seconds : 0;
    const left = Math.max(0, target - position);
    return {
      processor: this.#processor,
      events: this.#events,
      position,
      target,
      fraction: left === 0 ? 1 : done / (done + left),
      rate,
      remainingMs: left === 0 ? 0 : rate > 0 ? (left / rate) * 1000 : undefined,
    };
  }
}
