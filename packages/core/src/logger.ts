/** Where Refold reports what no caller awaits: lost leases, stopped processors, skipped snapshots. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string, cause?: unknown): void;
}

/** The default logger: warnings and errors go to the console, the rest nowhere. */
export const consoleLogger: Logger = {
  info: () => {},
  warn: (message) => console.warn(`refold: ${message}`),
  error: (message, cause) => console.error(`refold: ${message}`, ...(cause === undefined ? [] : [cause])),
};

/** A logger that says nothing, for tests that provoke failures on purpose. */
export const silentLogger: Logger = { info: () => {}, warn: () => {}, error: () => {} };
