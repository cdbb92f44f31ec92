import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { EXAMPLES, lastLine, run, withMistake } from './running-example.js';

const QUICKSTART = join(EXAMPLES, '01-quickstart', 'dist', 'main.js');
const FLIGHTS = join(EXAMPLES, '02-replay-flights', 'dist', 'main.js');
const VERDICT = /^All [0-9]+ answers match the raw file; both rebuilt read models match\.$/;

describe('the quickstart example', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'refold-examples-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('prints what its expected-output.txt says', async () => {
    const outcome = await run(QUICKSTART, join(folder, 'quickstart.db'));
    const expected = readFileSync(join(EXAMPLES, '01-quickstart', 'expected-output.txt'), 'utf8');
    expect(outcome).to.deep.equal({ code: 0, stdout: expected, stderr: '' });
  });
});

describe('the flights example', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'refold-examples-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('finds every answer right, and removes its temporary file', async () => {
    const outcome = await run(FLIGHTS, '--flights', '20000');
    expect(outcome).to.include({ code: 0, stderr: '' });
    expect(lastLine(outcome)).to.match(VERDICT);
    const file = /^Database: (.+?), removed at the end/.exec(outcome.stdout)?.[1] ?? '';
    expect(file).to.match(/flights\.db$/);
    expect(existsSync(file)).to.equal(false);
  });

  it('answers for a single flight', async () => {
    const outcome = await run(FLIGHTS, '--flights', '1');
    expect(outcome).to.include({ code: 0, stderr: '' });
    expect(lastLine(outcome)).to.match(VERDICT);
  });

  it('keeps the file that --db names, with read models that SQL can ask', async () => {
    const file = join(folder, 'kept.db');
    const outcome = await run(FLIGHTS, '--flights', '2000', '--db', file);
    expect(outcome).to.include({ code: 0, stderr: '' });
    expect(lastLine(outcome)).to.match(VERDICT);
    const database = new Database(file, { readonly: true });
    const flights = database.prepare('select sum(flights) from days').pluck().get();
    const arrivals = database
      .prepare("select sum(json_extract(document, '$.arrivals')) from airports")
      .pluck()
      .get();
    database.close();
    expect({ flights, arrivals }).to.deep.equal({ flights: 2000, arrivals: 2000 });

    const again = await run(FLIGHTS, '--flights', '2000', '--db', file);
    expect(again.code).to.equal(2);
    expect(again.stderr).to.include(`${file} exists`);
  });

  const mistakes = [
    ['route.js', 'ON_TIME_BELOW = 15', 'ON_TIME_BELOW = 16', 'Answer: How many flights landed?'],
    ['statistics.js', 'document.departures += 1', 'document.departures += 2', 'Rebuilt airports: '],
    [
      'replay.js',
      '`since ${day}`, positionBefore',
      '`since ${day}`, positionBefore + 10',
      'Punctuality since',
    ],
  ] as const;
  for (const [module, right, wrong, found] of mistakes) {
    it(`says which answer differs, and fails, when "${right}" is "${wrong}"`, async () => {
      const outcome = await run(
        ...withMistake('02-replay-flights', module, right, wrong),
        FLIGHTS,
        '--flights',
        '20000',
      );
      expect(outcome).to.include({ code: 1, stderr: '' });
      expect(outcome.stdout).to.match(
        new RegExp(`^${found.replaceAll('?', '\\?')}.*: expected .*, actual `, 'm'),
      );
      expect(lastLine(outcome)).to.match(/^Differences from the raw file: [1-9]/);
    });
  }

  const badArguments = [
    [['--flights', 'many'], 'must be a whole number from 1 to 3,000,000, got "many"'],
    [['--flights', '0'], 'must be a whole number from 1 to 3,000,000, got "0"'],
    [['--flights', '3000001'], 'must be a whole number from 1 to 3,000,000, got "3000001"'],
    [['--flights'], '--flights'],
    [['--all', '--flights', '5'], '--all and --flights exclude each other'],
    [['--al'], '--al'],
    [['400000'], '400000'],
    [['--db', ''], '--db must name a file'],
    [['--db', join('no', 'such', 'folder', 'x.db')], `there is no folder ${join('no', 'such', 'folder')}`],
  ] as const;
  it('refuses bad arguments with a message, its help, and exit code 2', async () => {
    for (const [args, message] of badArguments) {
      const outcome = await run(FLIGHTS, ...args);
      expect(outcome, args.join(' ')).to.include({ code: 2, stdout: '' });
      expect(outcome.stderr.split('\n')[0]).to.include(message);
      expect(outcome.stderr).to.include('--all ');
    }
  });

  it('prints its help', async () => {
    const outcome = await run(FLIGHTS, '--help');
    expect(outcome).to.include({ code: 0, stderr: '' });
    for (const option of ['--flights N', '--all', '--db FILE']) expect(outcome.stdout).to.include(option);
  });
});
