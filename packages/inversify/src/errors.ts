import { RefoldError } from '@refold/core';

/** What handlers, transports or the application need of the container is missing in it, or is there several times. */
export class BindingsError extends RefoldError {
  readonly code = 'BAD_BINDINGS';

  constructor(
    /** One line each: who needs what, and what is wrong with it. */
    readonly problems: readonly string[],
    options?: ErrorOptions,
  ) {
    super(
      `${problems.length === 1 ? 'A binding is' : `${problems.length} bindings are`} missing or ambiguous:\n` +
        problems.map((problem) => `- ${problem}`).join('\n'),
      options,
    );
  }
}
