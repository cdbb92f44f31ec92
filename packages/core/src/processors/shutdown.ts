/**
 * A signal that aborts when the process is asked to end, for `worker.run({ signal: shutdownSignal() })`: the worker
 * finishes what it has in hand and gives its leases back. A second signal ends the process at once.
 */
export function shutdownSignal(names: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT']): AbortSignal {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    for (const one of names) process.off(one, onSignal);
    controller.abort(new Error(`The process was asked to end by ${name}`));
  };
  for (const name of names) process.on(name, onSignal);
  return controller.signal;
}
