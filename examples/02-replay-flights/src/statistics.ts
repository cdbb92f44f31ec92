import { documentProjection, type RecordedEvent } from '@refold/core';
import { sqlProjection } from '@refold/sqlite';
import { DayClosed, DelayRecordBroken, FlightLanded, ON_TIME_BELOW, RouteDisrupted } from './route.js';

/** What is known of one airport. */
export interface AirportStatistics {
  readonly airport: string;
  departures: number;
  arrivals: number;
  /** Arrivals on time. */
  onTime: number;
  /** The minutes of all late arrivals. */
  minutesLate: number;
}

/** One document an airport; a flight is folded into those of its origin and of its destination. */
export const airportStatistics = documentProjection<AirportStatistics>('airports', {
  initial: (airport) => ({ airport, departures: 0, arrivals: 0, onTime: 0, minutesLate: 0 }),
  key: airportsOf,
}).on(FlightLanded, (document, { stream, data: { delay } }) => {
  if (destinationOf(stream) === document.airport) {
    document.arrivals += 1;
    if (delay < ON_TIME_BELOW) document.onTime += 1;
    if (delay > 0) document.minutesLate += delay;
  } else {
    document.departures += 1;
  }
});

/** Tables of days, hours of departure, delay records and disruptions, to be asked with SQL. */
export const punctuality = sqlProjection('punctuality', {
  tables: {
    days: (table) =>
      `create table ${table} (day text primary key, flights integer not null, on_time integer not null) strict`,
    hours: (table) =>
      `create table ${table} (hour integer primary key, flights integer not null, on_time integer not null) strict`,
    delay_records: (table) =>
      `create table ${table} (route text, departed text, delay integer, primary key (route, delay)) strict`,
    disruptions: (table) => `create table ${table} (route text, day text, primary key (route, day)) strict`,
  },
})
  .on(FlightLanded, ({ data: { departed, delay } }, { unit, table }) => {
    const hour = Number(departed.slice(11, 13));
    unit.run(
      `insert into ${table('hours')} values (?, 1, ?)
       on conflict do update set flights = flights + 1, on_time = on_time + excluded.on_time`,
      hour,
      delay < ON_TIME_BELOW ? 1 : 0,
    );
  })
  .on(DelayRecordBroken, ({ stream, data: { departed, delay } }, { unit, table }) => {
    unit.run(`insert into ${table('delay_records')} values (?, ?, ?)`, routeOf(stream), departed, delay);
  })
  .on(RouteDisrupted, ({ stream, data: { day } }, { unit, table }) => {
    unit.run(`insert into ${table('disruptions')} values (?, ?)`, routeOf(stream), day);
  })
  .on(DayClosed, ({ data: { day, flights, onTime } }, { unit, table }) => {
    unit.run(
      `insert into ${table('days')} values (?, ?, ?)
       on conflict do update set flights = flights + excluded.flights, on_time = on_time + excluded.on_time`,
      day,
      flights,
      onTime,
    );
  });

/** `route-LAX-LAS` → `LAX-LAS` */
function routeOf(stream: string): string {
  return stream.slice('route-'.length);
}

/** `route-LAX-LAS` → `LAS` */
function destinationOf(stream: string): string {
  return stream.slice(-'LAS'.length);
}

function airportsOf({ stream }: RecordedEvent): string[] {
  return routeOf(stream).split('-');
}
