import { postgresStore } from '@refold/postgres';
import { describeStore } from '@refold/testing/conformance';
import { after } from 'mocha';
import postgres from 'postgres';
import { stopTestDatabase, testDatabase } from './server.js';

after(stopTestDatabase);

// Every schema's name is an odd one: all that Refold runs must quote it.
const schemaOf = (place: string): string => `Odd "${place}".x-1`;

describeStore('postgresStore', {
  open: async (place, { maxEventBytes }) =>
    postgresStore(await testDatabase(), { maxEventBytes, schema: schemaOf(place) }),
  discard: async (place) => {
    const sql = postgres(await testDatabase(), { max: 1, onnotice: () => {} });
    await sql.unsafe(`drop schema if exists "${schemaOf(place).replaceAll('"', '""')}" cascade`);
    await sql.end();
  },
  lacks: {
    clock: 'the database tells the time',
    literalDocuments: 'jsonb keeps values, not the letter of their JSON',
  },
});
