import type postgres from 'postgres';
import type { ClientOptions } from './session.js';

/**
 * Teaches a client the array types of its database, as the driver does for each connection by itself: but there a
 * connection that breaks meanwhile ends the process.
 */
export async function learnArrayTypes(sql: postgres.Sql, options: ClientOptions): Promise<void> {
  const rows = await sql
    .unsafe<{ element: number; array: number }[]>(
      `select typelem as element, oid as array from pg_catalog.pg_type
       where typinput = 'pg_catalog.array_in'::regproc and typdelim = ','`,
    )
    .values();
  for (const [element = 0, array = 0] of rows) {
    const { parsers, serializers } = options;
    arrayOf(options)[element] = array;
    if (array in parsers && array in serializers) continue;
    parsers[array] = (text: string) => parseArray(text, (item) => parsers[element]?.(item) ?? item);
    serializers[array] = (list: unknown) =>
      arrayLiteral(list, (item) => serializers[element]?.(item) ?? item);
  }
}

/** The array type of each type, for `sql.array`; the driver's types leave it out. */
function arrayOf(
  options: ClientOptions & { readonly shared?: { typeArrayMap?: Record<number, number> } },
): Record<number, number> {
  return options.shared?.typeArrayMap ?? {};
}

/** An array in PostgreSQL's text form, e.g. `{1,"a b",NULL,{2}}`. */
export function parseArray(text: string, parse: (item: string) => unknown): unknown[] {
  // Bounds other than from 1 stand before it.
  let at = text.indexOf('{');
  const list = (): unknown[] => {
    const items: unknown[] = [];
    for (at++; at < text.length && text[at] !== '}';) {
      if (text[at] === '{') items.push(list());
      else items.push(text[at] === '"' ? quoted() : plain());
      if (text[at] === ',') at++;
    }
    at++;
    return items;
  };
  const quoted = (): unknown => {
    let item = '';
    for (at++; at < text.length && text[at] !== '"'; at++) {
      if (text[at] === '\\') at++;
      item += text[at];
    }
    at++;
    return parse(item);
  };
  const plain = (): unknown => {
    const start = at;
    while (at < text.length && text[at] !== ',' && text[at] !== '}') at++;
    const item = text.slice(start, at);
    return item === 'NULL' ? null : parse(item);
  };
  return list();
}

/** The other way round. */
export function arrayLiteral(list: unknown, serialize: (item: unknown) => unknown): unknown {
  if (!Array.isArray(list)) return list;
  const items = list.map((item: unknown): unknown => {
    if (item === null || item === undefined) return 'NULL';
    if (Array.isArray(item)) return arrayLiteral(item, serialize);
    return `"${String(serialize(item)).replace(/["\\]/g, '\\$&')}"`;
  });
  return `{${items.join(',')}}`;
}
