import type { Application } from '@refold/core';
import type { SqliteStore, SqliteUnit } from '@refold/sqlite';
import type { Answers, OnRoute, Punctuality } from './answers.js';
import type { Facts } from './comparison.js';
import type { Landed } from './landing.js';
import { airportStatistics, type AirportStatistics } from './statistics.js';

/** Every answer, from the two read models and what the routes refused. */
export async function askReadModels(
  application: Application<SqliteUnit>,
  store: SqliteStore,
  { refusals, sentAgain }: Landed,
): Promise<Answers> {
  const airports = await allAirports(application);
  const tables = await store.transaction(async (unit) => askTables(unit));
  return { refused: refusals.length, sentAgain, ...askAirports(airports), ...tables };
}

/** The whole read model of airports, one fact a document. */
export async function airportFacts(application: Application<SqliteUnit>): Promise<Facts> {
  const facts = new Map<string, string>();
  for (const { airport, departures, arrivals, onTime, minutesLate } of await allAirports(application)) {
    facts.set(airport, `${departures} out, ${arrivals} in, ${onTime} on time, ${minutesLate} minutes late`);
  }
  return facts;
}

/** The whole read model of punctuality, one fact a row. */
export async function punctualityFacts(store: SqliteStore): Promise<Facts> {
  const rows = await store.transaction(async (unit) =>
    unit.all<{ name: string; fact: string }>(`
      select 'day ' || day as name, flights || ' flights, ' || on_time || ' on time' as fact from days
      union all select 'hour ' || hour, flights || ' flights, ' || on_time || ' on time' from hours
      union all select 'record ' || route || ' of ' || delay, departed from delay_records
      union all select 'disruption ' || route || ' ' || day, 'yes' from disruptions`),
  );
  return new Map(rows.map(({ name, fact }) => [name, fact]));
}

async function allAirports(application: Application<SqliteUnit>): Promise<AirportStatistics[]> {
  const airports: AirportStatistics[] = [];
  for await (const [, airport] of application.readModel(airportStatistics).entries()) airports.push(airport);
  return airports;
}

function askAirports(
  airports: readonly AirportStatistics[],
): Pick<Answers, 'minutesLate' | 'busiestAirports' | 'mostPunctualAirport' | 'leastPunctualAirport'> {
  const arrivals = airports.reduce((sum, airport) => sum + airport.arrivals, 0);
  const large = airports
    .filter((airport) => airport.arrivals >= arrivals / 100)
    .map(({ airport, ...of }): Punctuality => ({ name: airport, flights: of.arrivals, onTime: of.onTime }));
  const share = ({ onTime, flights }: Punctuality): number => onTime / flights;
  return {
    minutesLate: airports.reduce((sum, airport) => sum + airport.minutesLate, 0),
    busiestAirports: airports
      .map(({ airport, ...of }) => ({ airport, flights: of.departures + of.arrivals }))
      .sort((a, b) => b.flights - a.flights)
      .slice(0, 3),
    mostPunctualAirport: large.toSorted((a, b) => share(b) - share(a))[0],
    leastPunctualAirport: large.toSorted((a, b) => share(a) - share(b))[0],
  };
}

type FromTables = Omit<Answers, 'refused' | 'sentAgain' | keyof ReturnType<typeof askAirports>>;

function askTables(unit: SqliteUnit): FromTables {
  const count = (table: string): number =>
    unit.get<{ count: number }>(`select count(*) as count from ${table}`)?.count ?? 0;
  const mostOften = (table: string): OnRoute | undefined =>
    unit.get(
      `select route, count(*) as times from ${table} group by route order by times desc, route limit 1`,
    );
  const day = (order: 'asc' | 'desc'): Punctuality | undefined =>
    unit.get(
      `select day as name, flights, on_time as onTime from days where day < (select max(day) from days)
       order by 1.0 * on_time / flights ${order}, day limit 1`,
    );
  const hour = (order: 'asc' | 'desc'): Punctuality | undefined =>
    unit.get(
      `select format('%02d:00 to %02d:59', hour, hour) as name, flights, on_time as onTime from hours
       where flights >= (select sum(flights) from hours) / 100.0
       order by 1.0 * on_time / flights ${order}, hour limit 1`,
    );
  return {
    landed: unit.get(
      `select 'From ' || min(day) || ' to ' || max(day) as name, sum(flights) as flights, sum(on_time) as onTime from days`,
    ) ?? { name: 'none', flights: 0, onTime: 0 },
    bestDay: day('desc'),
    worstDay: day('asc'),
    bestHour: hour('desc'),
    worstHour: hour('asc'),
    longestDelay: unit.get(
      'select route, departed, delay from delay_records order by delay desc, departed, route limit 1',
    ),
    recordsBroken: count('delay_records'),
    mostRecords: mostOften('delay_records'),
    disruptions: count('disruptions'),
    mostDisrupted: mostOften('disruptions'),
  };
}
