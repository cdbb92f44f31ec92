import { InvalidArgumentError } from '@refold/core';

/** The name of the schema, checked, and what is derived from it. */
export class Schema {
  readonly name: string;
  /** Quoted, for SQL. */
  readonly quoted: string;
  /** Where appends are announced by NOTIFY. */
  readonly channel: string;

  /** @throws InvalidArgumentError for a name that PostgreSQL would cut or refuse */
  constructor(name: string) {
    if (typeof name !== 'string' || name === '' || Buffer.byteLength(name) > 55 || /\0|\$\$/.test(name)) {
      throw new InvalidArgumentError('schema', name, 'must be a name of 1 to 55 bytes, without NUL and $$');
    }
    this.name = name;
    this.quoted = quote(name);
    this.channel = `refold:${name}`;
  }

  /** A table, view or function of the schema, quoted. */
  of(name: string): string {
    return `${this.quoted}.${quote(name)}`;
  }

  /** Puts the schema's name into SQL that has `{schema}`, or inside a string `{schema in a literal}`, in its place. */
  fill(sql: string): string {
    const inLiteral = this.quoted.replaceAll("'", "''");
    return sql.replaceAll('{schema}', () => this.quoted).replaceAll('{schema in a literal}', () => inLiteral);
  }
}

/** An identifier in quotes, whatever is in it. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
