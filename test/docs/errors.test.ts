import * as core from '@refold/core';
import * as inversify from '@refold/inversify';
import * as postgres from '@refold/postgres';
import * as sqlite from '@refold/sqlite';
import { expect } from 'chai';
import ts from 'typescript';
import { pageAt, proseOf } from './markdown.js';
import { docsProgram, exportsOf } from './program.js';

interface Documented {
  readonly code: string | undefined;
  readonly fields: readonly string[];
  readonly text: string;
}

/** The error classes that the packages export, found in their running code. */
function exportedErrors(): string[] {
  return Object.entries({ ...core, ...sqlite, ...postgres, ...inversify })
    .filter(([, value]) => typeof value === 'function' && value.prototype instanceof core.RefoldError)
    .map(([name]) => name)
    .sort();
}

/** The code and the fields of an error class, by its types. */
function declared(name: string): { code: string | undefined; fields: string[] } {
  const packages = ['@refold/core', '@refold/sqlite', '@refold/postgres', '@refold/inversify'] as const;
  const symbol = packages.flatMap((one) => exportsOf(one)).find((one) => one.name === name);
  if (!symbol) throw new Error(`${name} has no type`);
  const checker = docsProgram().program.getTypeChecker();
  const own = checker
    .getDeclaredTypeOfSymbol(symbol)
    .getProperties()
    .filter(({ valueDeclaration }) => valueDeclaration?.parent === symbol.valueDeclaration);
  const code = own.find((property) => property.name === 'code');
  const type = code && checker.getTypeOfSymbol(code);
  return {
    code: type?.isStringLiteral() ? type.value : undefined,
    fields: own.map((property) => property.name).filter((field) => field !== 'code'),
  };
}

/** The sections of the error reference: a heading, then a line with the code and the fields. */
function documentedErrors(): Map<string, Documented> {
  const sections = new Map<string, string[]>();
  let section: string[] | undefined;
  for (const line of proseOf(pageAt('docs/errors.md'))) {
    const name = /^### (\w+)$/.exec(line)?.[1];
    if (name !== undefined) sections.set(name, (section = []));
    else if (line.startsWith('#')) section = undefined;
    else section?.push(line);
  }
  return new Map([...sections].map(([name, lines]) => [name, documented(lines)]));
}

function documented(lines: readonly string[]): Documented {
  const line = lines.find((one) => one.startsWith('Code: ')) ?? '';
  const [code, ...fields] = [...line.matchAll(/`([^`]+)`/g)].map(([, word]) => word ?? '');
  return { code, fields, text: lines.join('\n') };
}

/** Errors of the language and of Node that the page may speak of. */
const FOREIGN = ['AggregateError', 'AssertionError', 'Error', 'RefoldError', 'SqliteError', 'TypeError'];

describe('the error reference', () => {
  const sections = documentedErrors();

  it('has every error class of the packages and no other', () => {
    expect(exportedErrors()).to.include.members(['RevisionConflictError', 'CorruptDatabaseError']);
    expect([...sections.keys()].sort()).to.deep.equal(exportedErrors());
  });

  it('names no error that does not exist', () => {
    const known = new Set([...exportedErrors(), ...FOREIGN]);
    const named = proseOf(pageAt('docs/errors.md')).flatMap((line) => line.match(/\b[A-Z]\w*Error\b/g) ?? []);
    expect(named.filter((name) => !known.has(name))).to.deep.equal([]);
  });

  for (const [name, { code, fields, text }] of sections) {
    it(`has the code and the fields of ${name}, and says what to do`, () => {
      expect({ code, fields }).to.deep.equal(declared(name));
      expect(text)
        .to.match(/^When: /m)
        .and.to.match(/^What to do: /m);
    });
  }

  it('has no code twice', () => {
    const codes = [...sections.values()].map(({ code }) => code);
    expect(new Set(codes).size).to.equal(codes.length);
  });
});

// A class whose type cannot be looked up would make the comparison above an empty one.
describe('the types of the errors', () => {
  it('are classes', () => {
    const classes = exportsOf('@refold/core').filter(({ flags }) => flags & ts.SymbolFlags.Class);
    expect(classes.map(({ name }) => name)).to.include('LeaseLostError');
  });
});
