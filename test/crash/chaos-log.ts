import { appendFileSync } from 'node:fs';
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
