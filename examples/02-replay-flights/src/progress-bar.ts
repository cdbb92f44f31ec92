import type { WriteStream } from 'node:tty';

const WIDTH = 30;
const REDRAW_MS = 100;
/** Where nobody watches, a phase gets a line each time so much more of it is done. */
const PLAIN_STEP = 0.25;

/** How far something is. */
export interface Step {
  /** Things done so far. */
  readonly done: number;
  /** 0 to 1 */
  readonly fraction: number;
}

/**
 * Runs one phase with a progress bar: redrawn in place on a terminal, a few plain lines elsewhere. Ends with a line
 * of what was done, in what time, and how many `things` a second that is.
 */
export async function withProgress<Result>(
  title: string,
  things: string,
  work: (onStep: (step: Step) => void) => Promise<Result>,
  out: WriteStream = process.stdout,
): Promise<Result> {
  const began = performance.now();
  let last: Step = { done: 0, fraction: 0 };
  let drawn = began;
  let told = 0;
  const result = await work((step) => {
    last = step;
    const now = performance.now();
    if (out.isTTY && now - drawn >= REDRAW_MS) {
      drawn = now;
      // A line that wraps could not be drawn over.
      out.write(`\r\u001b[K${line(title, things, step, now - began).slice(0, out.columns - 1)}`);
    } else if (!out.isTTY && step.fraction < 1 && step.fraction >= told + PLAIN_STEP) {
      told = Math.floor(step.fraction / PLAIN_STEP) * PLAIN_STEP;
      out.write(`${line(title, things, step, now - began)}\n`);
    }
  });
  const end = line(title, things, { done: last.done, fraction: 1 }, performance.now() - began);
  out.write(`${out.isTTY ? '\r\u001b[K' : ''}${end}\n`);
  return result;
}

function line(title: string, things: string, { done, fraction }: Step, ms: number): string {
  const filled = Math.round(fraction * WIDTH);
  const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled);
  const percent = `${Math.floor(fraction * 100)} %`.padStart(5);
  const seconds = `${(ms / 1000).toFixed(1)} s`.padStart(7);
  const rate = Math.round(done / Math.max(ms / 1000, 0.001)).toLocaleString('en');
  const count = done.toLocaleString('en');
  return `${title.padEnd(38)} ${bar} ${percent} ${seconds}  ${count} ${things}, ${rate}/s`;
}
