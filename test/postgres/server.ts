import type * as Server from '../../packages/postgres/dist-test/server.js';

// The path from this file's compiled form, which lies one folder deeper: only the types come by the path above.
const compiled = new URL('../../../packages/postgres/dist-test/server.js', import.meta.url);

/** The PostgreSQL server of the tests, the same one as that of the tests of packages/postgres. */
export const { installedProgram, testDatabase, stopTestDatabase } = (await import(
  compiled.href
)) as typeof Server;
