import type { Application, Repository } from '@refold/core';
import type { SqliteUnit } from '@refold/sqlite';
import type { Flights } from './flights.js';
import { ReportRefused, Route, type Flight } from './route.js';

const MINUTES_OF_A_DAY = 1440;

/** A day of flights, and where its events begin. */
export interface LandedDay {
  readonly day: string;
  /** The position of the last event before the day's first. */
  readonly positionBefore: number;
}

/** What became of the reports. */
export interface Landed {
  readonly days: readonly LandedDay[];
  /** Why reports were refused, in the words of the routes. */
  readonly refusals: readonly string[];
  /** What became of the first day's reports when they came a second time. */
  readonly sentAgain: { readonly day: string; readonly reports: number; readonly refused: number };
}

/**
 * Reports all flights to their routes, day by day. The flights of a route and day are one command and one append; all
 * routes of a day work at the same time, so that the store commits many appends at once. At last the first day comes
 * once more, as a feed that was restarted would send it.
 */
export async function landFlights(
  application: Application<SqliteUnit>,
  flights: Flights,
  onProgress: (landed: number) => void,
): Promise<Landed> {
  const routes = application.repository(Route, { cacheSize: 4000 });
  const days: LandedDay[] = [];
  const refusals: string[] = [];
  for (let first = 0; first < flights.count;) {
    const reports = reportsOfDay(flights, first);
    days.push({ day: reports.day, positionBefore: await application.head() });
    refusals.push(...(await report(routes, reports)));
    first = reports.next;
    onProgress(first);
  }
  const firstDay = reportsOfDay(flights, 0);
  const refused = (await report(routes, firstDay)).length;
  return { days, refusals, sentAgain: { day: firstDay.day, reports: firstDay.next, refused } };
}

/** Reports one day. Returns what the routes refused. */
async function report(routes: Repository<Route>, { byRoute }: ReportsOfDay): Promise<string[]> {
  const commands = [...byRoute].map(([id, reports]) => routes.upsert(id, (route) => landDay(route, reports)));
  return (await Promise.all(commands)).flatMap(({ result }) => result);
}

/** One command: lands a day's flights and closes the day. Returns what the route refused. */
function landDay(route: Route, reports: readonly Flight[]): string[] {
  const refusals: string[] = [];
  for (const report of reports) {
    try {
      route.land(report);
    } catch (error) {
      if (!(error instanceof ReportRefused)) throw error;
      refusals.push(error.message);
    }
  }
  route.closeDay();
  return refusals;
}

interface ReportsOfDay {
  readonly day: string;
  /** The row after the day's last. */
  readonly next: number;
  readonly byRoute: ReadonlyMap<string, readonly Flight[]>;
}

function reportsOfDay(flights: Flights, first: number): ReportsOfDay {
  const dayNumber = dayNumberOf(flights, first);
  const day = new Date(dayNumber * MINUTES_OF_A_DAY * 60_000).toISOString().slice(0, 10);
  const byRoute = new Map<string, Flight[]>();
  let row = first;
  for (; row < flights.count && dayNumberOf(flights, row) === dayNumber; row++) {
    const id = `${flights.origin[row]}-${flights.destination[row]}`;
    const flight = {
      departed: `${day}T${timeOfDay((flights.departed[row] ?? 0) % MINUTES_OF_A_DAY)}`,
      delay: flights.delay[row] ?? 0,
      distance: flights.distance[row] ?? 0,
    };
    const known = byRoute.get(id);
    if (known) known.push(flight);
    else byRoute.set(id, [flight]);
  }
  return { day, next: row, byRoute };
}

function dayNumberOf(flights: Flights, row: number): number {
  return Math.floor((flights.departed[row] ?? 0) / MINUTES_OF_A_DAY);
}

/** 1362 → `22:42` */
function timeOfDay(minutes: number): string {
  const twoDigits = (value: number): string => String(value).padStart(2, '0');
  return `${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`;
}
