import type { Facts } from './comparison.js';

/** How punctual something was: a day, an hour, an airport. */
export interface Punctuality {
  readonly name: string;
  readonly flights: number;
  readonly onTime: number;
}

/** How often something happened on a route. */
export interface OnRoute {
  readonly route: string;
  readonly times: number;
}

/** What a person would ask of the flights; undefined where these flights have no such thing. */
export interface Answers {
  readonly landed: Punctuality;
  readonly refused: number;
  readonly sentAgain: { readonly day: string; readonly reports: number; readonly refused: number };
  readonly minutesLate: number;
  readonly busiestAirports: readonly { readonly airport: string; readonly flights: number }[];
  /** Of the airports with 1 % of all arrivals or more. */
  readonly mostPunctualAirport: Punctuality | undefined;
  readonly leastPunctualAirport: Punctuality | undefined;
  /** Of all days but the last, which may be cut off. */
  readonly bestDay: Punctuality | undefined;
  readonly worstDay: Punctuality | undefined;
  /** Of the hours with 1 % of all departures or more. */
  readonly bestHour: Punctuality | undefined;
  readonly worstHour: Punctuality | undefined;
  readonly longestDelay:
    { readonly route: string; readonly departed: string; readonly delay: number } | undefined;
  readonly recordsBroken: number;
  readonly mostRecords: OnRoute | undefined;
  readonly disruptions: number;
  readonly mostDisrupted: OnRoute | undefined;
}

/** The answers in words, by their question. Counts are exact, so that two answers read the same only if they are. */
export function inWords(answers: Answers): Facts {
  const { sentAgain, longestDelay } = answers;
  return new Map([
    ['How many flights landed?', punctual(answers.landed)],
    ['How many reports did the routes refuse?', count(answers.refused)],
    [
      `And of those of ${sentAgain.day}, sent again?`,
      `${count(sentAgain.refused)} of ${count(sentAgain.reports)}`,
    ],
    ['How many minutes did late arrivals cost?', count(answers.minutesLate)],
    [
      'Which airports are the busiest?',
      answers.busiestAirports.map(({ airport, flights }) => `${airport} ${count(flights)}`).join(', '),
    ],
    ['At which large airport do flights arrive on time?', punctual(answers.mostPunctualAirport)],
    ['And at which do they not?', punctual(answers.leastPunctualAirport)],
    ['Which was the best day to fly?', punctual(answers.bestDay)],
    ['And the worst?', punctual(answers.worstDay)],
    ['At which hour should one leave?', punctual(answers.bestHour)],
    ['And when rather not?', punctual(answers.worstHour)],
    [
      'What was the longest delay?',
      longestDelay
        ? `${count(longestDelay.delay)} minutes, ${longestDelay.route} of ${longestDelay.departed}`
        : 'none of an hour',
    ],
    ['How often did a route break its delay record?', count(answers.recordsBroken)],
    ['Which route most often?', onRoute(answers.mostRecords)],
    ['On how many days was a route disrupted?', count(answers.disruptions)],
    ['Which route on most days?', onRoute(answers.mostDisrupted)],
  ]);
}

function punctual(one: Punctuality | undefined): string {
  if (!one) return 'none to compare';
  const percent = ((100 * one.onTime) / Math.max(1, one.flights)).toFixed(1);
  return `${one.name}, ${percent} % on time (${count(one.onTime)} of ${count(one.flights)})`;
}

function onRoute(one: OnRoute | undefined): string {
  return one ? `${one.route}, ${count(one.times)} times` : 'none';
}

function count(value: number): string {
  return value.toLocaleString('en');
}
