import { postgresStore } from '@refold/postgres';
import { describeStore } from '@refold/testing/conformance';
import postgres from 'postgres';

const url = process.env.DATABASE_URL ?? '';

describeStore('postgresStore', {
  open: (place, { clock: _, ...options }) => postgresStore(url, { ...options, schema: place }),
  discard: async (place) => {
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    await sql.unsafe(`drop schema if exists "${place}" cascade`);
    await sql.end();
  },
  lacks: {
    clock: 'the database tells the time',
    literalDocuments: 'jsonb keeps values, not the letter of their JSON',
  },
});
