/**
 * Resolves when no code can go on by itself: no promise is about to be continued, and nobody waits for the next turn of
 * the event loop. What is left then waits for the scheduler.
 */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      // Inside the callback of an immediate all promise reactions of earlier ones have run, and it counts no more itself.
      if (process.getActiveResourcesInfo().includes('Immediate')) setImmediate(look);
      else resolve();
    };
    setImmediate(look);
  });
}
