import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { Logger } from '@refold/core';

/** Writes what a process logs into a file of its own, for whoever looks into a failure. */
export function fileLogger(folder: string, name: string): Logger {
  const file = join(folder, `${name}.log`);
  const write =
    (level: string) =>
    (message: string, cause?: unknown): void => {
      const text = cause === undefined ? '' : ` ${inspect(cause)}`;
      appendFileSync(file, `${new Date().toISOString()} ${level} ${message}${text}\n`);
    };
  return { info: write('info'), warn: write('warn'), error: write('error') };
}

/** Whether a process has logged something that contains these words. */
export function hasLogged(folder: string, name: string, words: string): boolean {
  const file = join(folder, `${name}.log`);
  return existsSync(file) && readFileSync(file, 'utf8').includes(words);
}
