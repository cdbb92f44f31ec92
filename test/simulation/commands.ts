import { RefoldError } from '@refold/core';
import type { Action } from './plan.js';
import type { Program } from './program.js';

type Command = Extract<Action, { readonly kind: 'command' }>;

/**
 * Gives a command. What it may be refused for is fine: it may come at any time.
 * @throws whatever it should not have been refused with
 */
export async function give({ app }: Program, { command, processor, pick }: Command): Promise<void> {
  const handle = app.processor(processor);
  const isDelivery = processor === 'mails' || processor === 'pings';
  try {
    switch (command) {
      case 'pause':
        return await handle.pause({ timeoutMs: 300 + Math.floor(pick * 3000) });
      case 'resume':
        return await handle.resume();
      case 'split':
        return await handle.split();
      case 'merge':
        return await handle.merge();
      case 'reset':
        return await handle.reset({ to: pick < 0.7 ? 0 : Math.floor(pick * (await app.head())) });
      case 'rebuild':
        return isDelivery ? await handle.resume() : await handle.rebuild({ resume: pick < 0.3 });
      case 'rollback':
        return isDelivery ? await handle.resume() : await handle.rollback();
      case 'catchUp':
        return await app.catchUp();
      case 'retry':
        return void (await handle.deadLetters.retry());
      case 'discard':
        return await discardOne(handle, pick);
    }
  } catch (error) {
    if (error instanceof RefoldError) return;
    if (error instanceof AggregateError && error.errors.every((one) => one instanceof RefoldError)) return;
    throw error;
  }
}

async function discardOne(
  { deadLetters }: ReturnType<Program['app']['processor']>,
  pick: number,
): Promise<void> {
  const letters = await deadLetters.list();
  const letter = letters[Math.floor(pick * letters.length)];
  if (letter) await deadLetters.discard({ position: letter.position }, 'the simulation says so');
}
