import {
  changedIndexes,
  DefinitionError,
  INDEX_NAME,
  indexedFields,
  indexName,
  type Collection,
  type IndexedField,
} from '@refold/core';
import type Database from 'better-sqlite3';
import { fieldExpression } from './document-find.js';
import type { Statements } from './statements.js';

/** The table of one generation of a collection. Collection names are identifiers, so neither name needs quotes. */
export function tableName(collection: string, generation: number): string {
  return `${collection}__${generation}`;
}

/** Creates the tables of one generation. */
export function createTables(
  database: Database.Database,
  collections: readonly Collection[],
  generation: number,
): void {
  for (const collection of collections) {
    const table = tableName(collection.name, generation);
    for (const statement of statementsFor(collection, table)) database.exec(statement);
    const created = database
      .prepare("select 1 from sqlite_schema where type = 'table' and name = ?")
      .get(table);
    if (!created) {
      throw new DefinitionError(
        `Table "${collection.name}"`,
        `its statements must create a table named ${table}`,
      );
    }
  }
}

/** @throws DefinitionError if the tables of a generation were created with other indexes than are declared now */
export function checkIndexes(
  statements: Statements,
  collections: readonly Collection[],
  generation: number,
): void {
  const select = statements.values("select name from sqlite_schema where type = 'index' and tbl_name = ?");
  for (const collection of collections) {
    const table = tableName(collection.name, generation);
    const there = (select.all(table) as string[]).filter((name) => INDEX_NAME.test(name));
    const declared = fieldsOf(collection).map((field) => indexName(table, field));
    if (there.sort().join() !== declared.sort().join()) throw changedIndexes(collection.name);
  }
}

/** Points the view under a collection's name, which is what readers use, at the table of one generation. */
export function showGeneration(
  database: Database.Database,
  collections: readonly string[],
  generation: number,
): void {
  for (const name of collections) {
    // SQL ignores the case of names. A view that is not of our making is no less the user's than a table.
    const other = database
      .prepare("select type from sqlite_schema where lower(name) = ? and (type <> 'view' or sql not glob ?)")
      .pluck()
      .get(name, `CREATE VIEW ${name} as select * from ${name}__[0-9]*`) as string | undefined;
    if (other !== undefined) {
      throw new DefinitionError(`Read model "${name}"`, `the file has a ${other} of that name already`);
    }
    database.exec(
      `drop view if exists ${name}; create view ${name} as select * from ${tableName(name, generation)}`,
    );
  }
}

/** Drops the views of collections that the new live generation has no more. */
export function hideCollections(database: Database.Database, collections: readonly string[]): void {
  for (const name of collections) database.exec(`drop view if exists ${name}`);
}

export function dropTables(
  database: Database.Database,
  collections: readonly string[],
  generation: number,
): void {
  for (const name of collections) database.exec(`drop table if exists ${tableName(name, generation)}`);
}

function statementsFor(collection: Collection, table: string): readonly string[] {
  if (collection.kind === 'documents') {
    return [
      `create table ${table} (key text primary key, document text not null) strict, without rowid`,
      ...fieldsOf(collection).map((field) => {
        const expression = fieldExpression(field);
        // Without the documents that lack the field, which a query that names it does not find.
        return `create index ${indexName(table, field)} on ${table} (${expression}, key) where ${expression} is not null`;
      }),
    ];
  }
  const statements = collection.create?.(table) ?? [];
  return typeof statements === 'string' ? [statements] : statements;
}

function fieldsOf({ name, indexes }: Collection): IndexedField[] {
  return indexedFields(`Read model "${name}"`, indexes);
}
