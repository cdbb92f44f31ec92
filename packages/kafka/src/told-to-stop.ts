/** How long what is in flight is awaited when told to stop. */
const GRACE_MS = 1_000;

/** Waits for work, or when the signal aborts only a moment longer; false if it was not done by then. @throws what it does */
export async function doneInTime(work: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  let start: (() => void) | undefined;
  const late = new Promise<false>((resolve) => {
    start = () => {
      timer = setTimeout(() => resolve(false), GRACE_MS);
    };
    if (signal.aborted) start();
    else signal.addEventListener('abort', start, { once: true });
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
    if (start) signal.removeEventListener('abort', start);
  }
}
