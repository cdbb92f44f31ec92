import { InvalidArgumentError, type RefoldError } from '@refold/core';
import {
  CorruptDatabaseError,
  DatabaseOpenError,
  ForeignDatabaseError,
  NewerDatabaseError,
  ReadonlyDatabaseError,
  sqliteStore,
} from '@refold/sqlite';
import { assert } from 'chai';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { before, describe, it } from 'mocha';
import { failure, logIds, newEvent, newEvents } from './expectations.js';
import { useFiles } from './files.js';

describe('opening', () => {
  const files = useFiles();

  /** Opening fails, and leaves the file as it is and nothing beside it. */
  async function refuses<Failed extends RefoldError & { readonly file: string }>(
    type: new (...args: never[]) => Failed,
    code: Failed['code'],
    file: string,
  ): Promise<Failed> {
    const before = readFileSync(file);
    const error = await failure(type, code, () => sqliteStore(file));
    assert.equal(error.file, file);
    assert.include(error.message, file);
    assert.isTrue(readFileSync(file).equals(before), 'the file is as it was');
    assert.deepEqual(
      readdirSync(dirname(file)).filter((name) => name.startsWith(basename(file))),
      [basename(file)],
    );
    return error;
  }

  /** A closed file of several pages with a hundred events. */
  async function filled(): Promise<string> {
    const file = files.fresh();
    const store = await sqliteStore(file);
    await store.append('order-1', newEvents(100, { data: 'x'.repeat(1000) }));
    await store.close();
    return file;
  }

  describe('a damaged file', () => {
    const contents: Readonly<Record<string, () => Buffer>> = {
      'random bytes': () => randomBytes(10_000),
      'a few bytes of text': () => Buffer.from('not a database'),
      'a text of several pages': () => Buffer.from('not a database\n'.repeat(1000)),
      "SQLite's header before random bytes": () =>
        Buffer.concat([Buffer.from('SQLite format 3\0'), randomBytes(10_000)]),
    };
    for (const [name, content] of Object.entries(contents)) {
      it(`is refused: ${name}`, async () => {
        const file = files.fresh();
        writeFileSync(file, content());
        const error = await refuses(CorruptDatabaseError, 'SQLITE_CORRUPT_DATABASE', file);
        assert.include(error.message, 'is not an SQLite database, or it is damaged');
        assert.instanceOf(error.cause, Error);
      });
    }

    it('is refused: one whose first page is damaged behind the header', async () => {
      const file = await filled();
      const bytes = readFileSync(file);
      randomBytes(3000).copy(bytes, 100);
      writeFileSync(file, bytes);
      await refuses(CorruptDatabaseError, 'SQLITE_CORRUPT_DATABASE', file);
    });

    it('is refused: one cut off in its first page', async () => {
      const file = await filled();
      truncateSync(file, 1000);
      await refuses(CorruptDatabaseError, 'SQLITE_CORRUPT_DATABASE', file);
    });

    const damages: Readonly<Record<string, (file: string) => void>> = {
      'cut off in its midst': (file) => truncateSync(file, 4096 * 5 + 100),
      'garbage behind its first page': (file) => {
        const bytes = readFileSync(file);
        randomBytes(bytes.length - 4096).copy(bytes, 4096);
        writeFileSync(file, bytes);
      },
    };
    for (const [name, damage] of Object.entries(damages)) {
      it(`is reported by whatever meets the damage: ${name}`, async () => {
        const file = await filled();
        damage(file);
        const code = 'SQLITE_CORRUPT_DATABASE';
        const calls: ((store: Awaited<ReturnType<typeof sqliteStore>>) => Promise<unknown>)[] = [
          (store) => logIds(store),
          (store) => store.readStream('order-1').toArray(),
          (store) => store.append('order-1', [newEvent()]),
          (store) =>
            store.transaction(async (unit) => unit.all('select sum(length(data)) from refold_events')),
          (store) => store.changes(100, AbortSignal.timeout(0)),
        ];
        let met = 0;
        for (const call of calls) {
          const error = await sqliteStore(file)
            .then(async (store) => {
              try {
                return await call(store);
              } finally {
                await store.close();
              }
            })
            .catch((thrown: unknown) => thrown);
          if (error instanceof CorruptDatabaseError) {
            assert.include({ ...error }, { code, file });
            met += 1;
          } else assert.notPropertyVal(error, 'name', 'SqliteError');
        }
        assert.isAtLeast(met, 4);
      });
    }
  });

  describe('a file of another program', () => {
    const programs: Readonly<Record<string, string>> = {
      'with tables': 'create table theirs (text text)',
      'with an id of its own': 'pragma application_id = 42',
      'with an id of its own and tables': 'pragma application_id = 42; create table theirs (text text)',
      'with a version and nothing else': 'pragma user_version = 3',
      'with nothing but a view': 'create view theirs as select 1 as one',
    };
    for (const [name, sql] of Object.entries(programs)) {
      it(`is refused, and not written to: ${name}`, async () => {
        const file = files.fresh();
        const database = files.connect(file);
        database.exec(sql);
        database.close();
        const error = await refuses(ForeignDatabaseError, 'SQLITE_FOREIGN_DATABASE', file);
        assert.include(error.message, 'not one of Refold: give Refold a file of its own');
      });
    }
  });

  it('a newer file is refused, and not written to', async () => {
    const file = await filled();
    const database = files.connect(file);
    const known = Number(database.pragma('user_version', { simple: true }));
    database.pragma('journal_mode = delete');
    database.pragma(`user_version = ${known + 7}`);
    database.close();
    const error = await refuses(NewerDatabaseError, 'SQLITE_NEWER_DATABASE', file);
    assert.include({ ...error }, { found: known + 7, known });
    assert.include(error.message, `schema version ${known + 7}`);
    assert.include(error.message, `up to ${known}: update @refold/sqlite`);
  });

  describe('what cannot be opened or created', () => {
    const places: Readonly<Record<string, () => string>> = {
      'a file in a folder that does not exist': () => files.path('nowhere/refold.db'),
      'a folder': () => files.folder,
      'a file in a file': () => {
        writeFileSync(files.path('plain'), '');
        return files.path('plain/refold.db');
      },
    };
    for (const [name, place] of Object.entries(places)) {
      it(`is refused: ${name}`, async () => {
        const file = place();
        const error = await failure(DatabaseOpenError, 'SQLITE_OPEN', () => sqliteStore(file));
        assert.equal(error.file, file);
        assert.include(error.message, `${file} cannot be opened or created: check that its folder exists`);
        assert.instanceOf(error.cause, Error);
      });
    }
  });

  describe('without the right to write', () => {
    before(function () {
      if (process.platform === 'win32') this.skip();
    });

    it('is refused: a read-only file', async () => {
      const file = await filled();
      chmodSync(files.folder, 0o777);
      chmodSync(file, 0o444);
      const error = await asOrdinaryUser(() =>
        failure(ReadonlyDatabaseError, 'SQLITE_READONLY_DATABASE', () => sqliteStore(file)),
      );
      assert.equal(error.file, file);
      assert.include(error.message, `${file} cannot be written: check the permissions`);
    });

    it('is refused: a file in a read-only folder', async () => {
      const folder = files.path('sealed');
      mkdirSync(folder);
      chmodSync(files.folder, 0o755);
      const file = `${folder}/refold.db`;
      await (await sqliteStore(file)).close();
      chmodSync(file, 0o666);
      chmodSync(folder, 0o555);
      try {
        const error = await asOrdinaryUser(() =>
          failure(ReadonlyDatabaseError, 'SQLITE_READONLY_DATABASE', () => sqliteStore(file)),
        );
        assert.equal(error.file, file);
      } finally {
        chmodSync(folder, 0o755);
      }
    });

    it('is refused: a new file in a read-only folder', async () => {
      const folder = files.path('closed');
      mkdirSync(folder, { mode: 0o555 });
      const file = `${folder}/refold.db`;
      await asOrdinaryUser(() => failure(DatabaseOpenError, 'SQLITE_OPEN', () => sqliteStore(file)));
      assert.isFalse(existsSync(file));
    });
  });

  const names = [
    '',
    ' ',
    ':memory:',
    ' :memory: ',
    'file:refold.db',
    ' file:refold.db?mode=memory',
    'a\0b.db',
  ];
  for (const name of names) {
    it(`refuses what names no file: ${JSON.stringify(name)}`, async () => {
      const error = await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () => sqliteStore(name));
      assert.include({ ...error }, { argument: 'file', value: name });
      assert.include(error.message, 'memoryStore');
    });
  }

  it('refuses options that mean nothing', async () => {
    const file = files.fresh();
    const bad: [string, object][] = [
      ['durability', { durability: 'none' }],
      ['lockTimeoutMs', { lockTimeoutMs: -1 }],
      ['lockTimeoutMs', { lockTimeoutMs: NaN }],
      ['maxEventBytes', { maxEventBytes: 0 }],
      ['maxEventBytes', { maxEventBytes: 1.5 }],
    ];
    for (const [argument, options] of bad) {
      const error = await failure(InvalidArgumentError, 'INVALID_ARGUMENT', () => sqliteStore(file, options));
      assert.equal(error.argument, argument);
    }
    assert.isFalse(existsSync(file));
  });
});

/** Permissions bind everyone but root: as root, does something as nobody. */
async function asOrdinaryUser<Result>(work: () => Promise<Result>): Promise<Result> {
  if (process.geteuid?.() !== 0) return work();
  process.seteuid?.(65534);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}
