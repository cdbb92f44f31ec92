import { createApplication, type Application, type OnProgress, type Projection } from '@refold/core';
import { sqliteStore, type SqliteUnit } from '@refold/sqlite';
import { inWords } from './answers.js';
import { differences, type Facts } from './comparison.js';
import { readFlights } from './flights.js';
import { landFlights, type Landed, type LandedDay } from './landing.js';
import { withProgress, type Step } from './progress-bar.js';
import { computeFromRawFile, type Expected } from './raw-file.js';
import { airportFacts, askReadModels, punctualityFacts } from './read-models.js';
import { Route } from './route.js';
import { airportStatistics, punctuality } from './statistics.js';

/** Differences that are printed; a broken rule makes thousands. */
const SHOWN = 25;

type Print = (line: string) => void;

/** Lands the first `count` flights, asks the read models, rebuilds them, and checks it all. False if anything was wrong. */
export async function replayFlights(count: number, databaseFile: string, print: Print): Promise<boolean> {
  const store = await sqliteStore(databaseFile);
  const application = createApplication({
    store,
    aggregates: [Route],
    projections: [airportStatistics, punctuality],
  });
  try {
    const landed = await land(application, count, print);
    await build(application, airportStatistics);
    await build(application, punctuality);
    const answers = inWords(await askReadModels(application, store, landed));
    printAnswers(answers, print);

    await rebuild(application, airportStatistics, 'all', 0);
    const airports = await airportFacts(application);

    const { day, positionBefore } = middleOf(landed);
    print(`\n${day} begins behind position ${positionBefore.toLocaleString('en')}: replay from there.`);
    await rebuild(application, punctuality, `since ${day}`, positionBefore);
    const punctualitySince = await punctualityFacts(store);
    print(`Punctuality now tells of ${day} and later only, so it is built whole again.`);
    await rebuild(application, punctuality, 'all', 0);

    const actual = { answers, airports, punctualitySince, punctuality: await punctualityFacts(store) };
    return verdict(await expectedOf(count, day), actual, print);
  } finally {
    await application.close();
  }
}

async function land(application: Application<SqliteUnit>, count: number, print: Print): Promise<Landed> {
  const flights = await withProgress('Read the flights', 'flights', (onStep) =>
    readFlights(count, (done) => onStep({ done, fraction: done / count })),
  );
  const landed = await withProgress('Land them on their routes', 'flights', (onStep) =>
    landFlights(application, flights, (done) => onStep({ done, fraction: done / count })),
  );
  const events = (await application.head()).toLocaleString('en');
  print(`The log holds ${events} events. Reports refused: ${landed.refusals.length}`);
  for (const refusal of landed.refusals.slice(0, 2)) print(`  ${refusal}`);
  if (landed.refusals.length > 2) print('  …');
  return landed;
}

/** A projection that is added late starts at the beginning of the log by itself. */
function build(application: Application<SqliteUnit>, projection: Projection<SqliteUnit>): Promise<void> {
  return withProgress(`Build ${projection.name}`, 'events', (onStep) =>
    application.worker({ processors: [projection], onProgress: stepsOf(onStep) }).catchUp(),
  );
}

/** The old read model is served until the new one takes its place. */
function rebuild(
  application: Application<SqliteUnit>,
  projection: Projection<SqliteUnit>,
  range: string,
  after: number,
): Promise<void> {
  return withProgress(`Rebuild ${projection.name}, ${range}`, 'events', (onStep) =>
    application.rebuild(projection, { after, onProgress: stepsOf(onStep) }),
  );
}

function stepsOf(onStep: (step: Step) => void): OnProgress {
  return ({ events, fraction }) => onStep({ done: events, fraction });
}

/** A day with about as many days before it as behind it. */
function middleOf({ days }: Landed): LandedDay {
  const middle = days[Math.floor(days.length / 2)];
  if (!middle) throw new Error('No day has landed');
  return middle;
}

function printAnswers(answers: Facts, print: Print): void {
  print('');
  for (const [question, answer] of answers) print(`  ${question.padEnd(52)} ${answer}`);
  print('');
}

function expectedOf(count: number, since: string): Promise<Expected> {
  return withProgress('Compute it all from the raw file', 'flights', (onStep) =>
    computeFromRawFile(count, since, (done) => onStep({ done, fraction: done / count })),
  );
}

type Actual = Omit<Expected, 'answers'> & { readonly answers: Facts };

function verdict(expected: Expected, actual: Actual, print: Print): boolean {
  const wrong = [
    ...differences('Answer', inWords(expected.answers), actual.answers),
    ...differences('Rebuilt airports', expected.airports, actual.airports),
    ...differences('Punctuality since the chosen day', expected.punctualitySince, actual.punctualitySince),
    ...differences('Rebuilt punctuality', expected.punctuality, actual.punctuality),
  ];
  print('');
  if (wrong.length === 0) {
    print(`All ${actual.answers.size} answers match the raw file; both rebuilt read models match.`);
    return true;
  }
  for (const difference of wrong.slice(0, SHOWN)) print(difference);
  print(`Differences from the raw file: ${wrong.length.toLocaleString('en')}`);
  return false;
}
