import {
  changedIndexes,
  DefinitionError,
  INDEX_NAME,
  indexedFields,
  indexName,
  type Collection,
  type IndexedField,
} from '@refold/core';
import { codeOf, query, type Statements } from './connection.js';
import { fieldExpression } from './document-find.js';
import { quote, type Schema } from './schema.js';
import type postgres from 'postgres';

/** The table of one generation of a collection, with its schema, quoted. */
export function tableName(schema: Schema, collection: string, generation: number): string {
  return schema.of(`${collection}__${generation}`);
}

/** Creates the tables of one generation. */
export async function createTables(
  runner: Statements,
  schema: Schema,
  collections: readonly Collection[],
  generation: number,
): Promise<void> {
  for (const collection of collections) {
    const table = tableName(schema, collection.name, generation);
    for (const statement of statementsFor(collection, table, generation)) await runner.unsafe(statement);
    const [created] = await query<{ there: boolean }>(runner, 'select to_regclass($1) is not null as there', [
      table,
    ]);
    if (!created?.there) {
      throw new DefinitionError(
        `Table "${collection.name}"`,
        `its statements must create a table named ${table}`,
      );
    }
  }
}

/** @throws DefinitionError if the tables of a generation were created with other indexes than are declared now */
export async function checkIndexes(
  runner: Statements,
  schema: Schema,
  collections: readonly Collection[],
  generation: number,
): Promise<void> {
  for (const collection of collections) {
    const rows = await query<{ name: string }>(
      runner,
      `select c.relname::text as name from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
       where i.indrelid = to_regclass($1)`,
      [tableName(schema, collection.name, generation)],
    );
    const there = rows.map(({ name }) => name).filter((name) => INDEX_NAME.test(name));
    const declared = indexesOf(collection, generation).map(({ name }) => name);
    if (there.sort().join() !== declared.sort().join()) throw changedIndexes(collection.name);
  }
}

/** Points the view under a collection's name, which is what readers use, at the table of one generation. */
export async function showGeneration(
  transaction: postgres.TransactionSql,
  schema: Schema,
  collections: readonly string[],
  generation: number,
): Promise<void> {
  for (const name of collections) {
    await refuseOther(transaction, schema, name);
    const view = schema.of(name);
    const select = `select * from ${tableName(schema, name, generation)}`;
    try {
      // Keeps what users have built on the view, as long as its columns stay what they were.
      await transaction.savepoint((inner) => inner.unsafe(`create or replace view ${view} as ${select}`));
    } catch (error) {
      if (codeOf(error) !== INVALID_TABLE_DEFINITION) throw error;
      await transaction.unsafe(`drop view ${view}; create view ${view} as ${select}`);
    }
  }
}

/** Drops the views of collections that the new live generation has no more. */
export async function hideCollections(
  runner: Statements,
  schema: Schema,
  collections: readonly string[],
): Promise<void> {
  for (const name of collections) await runner.unsafe(`drop view if exists ${schema.of(name)}`);
}

export async function dropTables(
  runner: Statements,
  schema: Schema,
  collections: readonly string[],
  generation: number,
): Promise<void> {
  for (const name of collections) {
    await runner.unsafe(`drop table if exists ${tableName(schema, name, generation)}`);
  }
}

const INVALID_TABLE_DEFINITION = '42P16';

async function refuseOther(runner: Statements, schema: Schema, name: string): Promise<void> {
  const [other] = await query<{ kind: string }>(
    runner,
    "select relkind::text as kind from pg_catalog.pg_class where oid = to_regclass($1) and relkind <> 'v'",
    [schema.of(name)],
  );
  if (other) {
    throw new DefinitionError(
      `Read model "${name}"`,
      `the schema ${quote(schema.name)} has a table or index of that name already`,
    );
  }
}

function statementsFor(collection: Collection, table: string, generation: number): readonly string[] {
  if (collection.kind === 'documents') {
    return [
      `create table ${table} (key text collate "C" primary key, document jsonb not null)`,
      ...indexesOf(collection, generation).map(
        ({ name, field }) => `create index ${quote(name)} on ${table} ((${fieldExpression(field)}), key)`,
      ),
    ];
  }
  const statements = collection.create?.(table) ?? [];
  return typeof statements === 'string' ? [statements] : statements;
}

/** Names of indexes are those of a schema, and so have the name of the table in them. */
function indexesOf(
  { name: collection, indexes }: Collection,
  generation: number,
): { readonly name: string; readonly field: IndexedField }[] {
  const table = `${collection}__${generation}`;
  return indexedFields(`Read model "${collection}"`, indexes).map((field) => ({
    name: indexName(table, field),
    field,
  }));
}
