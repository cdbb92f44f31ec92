import type * as server from '../../../packages/postgres/test/server.js';

/** The tests' own way to a server: the one of DATABASE_URL, or else a private one with the settings it comes with. */
const compiled = new URL('../../../../packages/postgres/dist-test/server.js', import.meta.url);

export const { testDatabase, stopTestDatabase, installedProgram } = (await import(
  compiled.href
)) as typeof server;
