import { fileURLToPath } from 'node:url';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { Answers, Punctuality } from './answers.js';
import type { Facts } from './comparison.js';

// The same answers once more, by plain loops over the rows of the file: no events, no aggregates, no projections. It
// reads the file by itself and repeats every rule and limit in its own words, so that no mistake is made on both sides.

/** What the event-sourced side must come to. */
export interface Expected {
  readonly answers: Answers;
  readonly airports: Facts;
  readonly punctuality: Facts;
  /** The facts of punctuality that flights of the chosen day and later make. */
  readonly punctualitySince: Facts;
}

/** Computes everything from the first `count` flights of the file, and some of it once more from a day on. */
export async function computeFromRawFile(
  count: number,
  since: string,
  onProgress: (read: number) => void,
): Promise<Expected> {
  const all = new Tally('');
  const late = new Tally(since);
  let read = 0;
  for await (const rows of rowGroups(count)) {
    for (const row of rows) {
      const flight = flightOf(row);
      all.add(flight);
      late.add(flight);
    }
    read += rows.length;
    onProgress(read);
  }
  return {
    answers: all.answers(),
    airports: all.airportFacts(),
    punctuality: all.punctualityFacts(),
    punctualitySince: late.punctualityFacts(),
  };
}

interface RawFlight {
  readonly day: string;
  /** `22:42` */
  readonly time: string;
  readonly delay: number;
  readonly distance: number;
  readonly from: string;
  readonly to: string;
}

async function* rowGroups(count: number): AsyncGenerator<Record<string, unknown>[]> {
  const path = fileURLToPath(new URL('../data/flights-3m.parquet', import.meta.resolve('vega-datasets')));
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  let rowStart = 0;
  for (const { num_rows: rows } of metadata.row_groups) {
    const rowEnd = Math.min(count, rowStart + Number(rows));
    if (rowStart < rowEnd) yield await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd });
    rowStart = rowEnd;
  }
}

function flightOf({ date, delay, distance, origin, destination }: Record<string, unknown>): RawFlight {
  const [day = '', time = ''] = new Date(Number(date)).toISOString().split('T');
  return {
    day,
    time: time.slice(0, 5),
    delay: Number(delay),
    distance: Number(distance),
    from: String(origin),
    to: String(destination),
  };
}

/** Two numbers that grow. */
interface Count {
  flights: number;
  onTime: number;
}

/** Adds up what flights of a day and later come to; earlier ones only count for what a route's record was. */
class Tally {
  readonly #since: string;
  #refused = 0;
  #firstDay: { day: string; reports: number } | undefined;
  #minutesLate = 0;
  readonly #departures = new Map<string, number>();
  readonly #arrivals = new Map<string, Count & { minutesLate: number }>();
  readonly #days = new Map<string, Count>();
  readonly #hours = new Map<number, Count>();
  readonly #longestOfRoute = new Map<string, number>();
  readonly #records: { route: string; departed: string; delay: number }[] = [];
  readonly #severeOfRouteAndDay = new Map<string, Map<string, number>>();

  constructor(since: string) {
    this.#since = since;
  }

  add(flight: RawFlight): void {
    const { day, delay, distance } = flight;
    this.#firstDay ??= { day, reports: 0 };
    if (day === this.#firstDay.day) this.#firstDay.reports++;
    if (delay <= -(30 + distance / 8)) {
      this.#refused++;
      return;
    }
    const isNewRecord = this.#isNewRecord(flight);
    if (day < this.#since) return;
    this.#addToAirports(flight);
    this.#addToTimes(flight);
    const route = `${flight.from}-${flight.to}`;
    if (isNewRecord) this.#records.push({ route, departed: `${day}T${flight.time}`, delay });
    if (delay >= 120) {
      const severe = this.#severeOfRouteAndDay.get(route) ?? new Map<string, number>();
      this.#severeOfRouteAndDay.set(route, severe.set(day, (severe.get(day) ?? 0) + 1));
    }
  }

  answers(): Answers {
    const flights = sum(this.#days, ({ flights }) => flights);
    const days = [...this.#days.keys()].sort();
    const [best, worst] = extremes(
      [...this.#days].filter(([day]) => day !== days.at(-1)),
      (day) => day,
    );
    const [bestHour, worstHour] = extremes(
      [...this.#hours].filter(([, hour]) => hour.flights * 100 >= flights).sort(([a], [b]) => a - b),
      (hour) => `${twoDigits(hour)}:00 to ${twoDigits(hour)}:59`,
    );
    const [mostPunctual, leastPunctual] = extremes(
      [...this.#arrivals]
        .filter(([, airport]) => airport.flights * 100 >= flights)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
      (airport) => airport,
    );
    const { day = '', reports = 0 } = this.#firstDay ?? {};
    const disrupted = this.#disruptions();
    return {
      landed: {
        name: `From ${days[0]} to ${days.at(-1)}`,
        flights,
        onTime: sum(this.#days, ({ onTime }) => onTime),
      },
      refused: this.#refused,
      sentAgain: { day, reports, refused: reports },
      minutesLate: this.#minutesLate,
      busiestAirports: this.#busiest(),
      mostPunctualAirport: mostPunctual,
      leastPunctualAirport: leastPunctual,
      bestDay: best,
      worstDay: worst,
      bestHour,
      worstHour,
      longestDelay: this.#longestDelay(),
      recordsBroken: this.#records.length,
      mostRecords: mostOften(this.#records.map(({ route }) => route)),
      disruptions: disrupted.length,
      mostDisrupted: mostOften(disrupted.map(({ route }) => route)),
    };
  }

  airportFacts(): Facts {
    const facts = new Map<string, string>();
    for (const airport of this.#airports()) {
      const { flights, onTime, minutesLate } = this.#arrivals.get(airport) ?? NOTHING;
      const out = this.#departures.get(airport) ?? 0;
      facts.set(airport, `${out} out, ${flights} in, ${onTime} on time, ${minutesLate} minutes late`);
    }
    return facts;
  }

  punctualityFacts(): Facts {
    const facts = new Map<string, string>();
    for (const [day, { flights, onTime }] of this.#days) {
      facts.set(`day ${day}`, `${flights} flights, ${onTime} on time`);
    }
    for (const [hour, { flights, onTime }] of this.#hours) {
      facts.set(`hour ${hour}`, `${flights} flights, ${onTime} on time`);
    }
    for (const { route, departed, delay } of this.#records)
      facts.set(`record ${route} of ${delay}`, departed);
    for (const { route, day } of this.#disruptions()) facts.set(`disruption ${route} ${day}`, 'yes');
    return facts;
  }

  #isNewRecord({ from, to, delay }: RawFlight): boolean {
    if (delay < 60 || delay <= (this.#longestOfRoute.get(`${from}-${to}`) ?? 0)) return false;
    this.#longestOfRoute.set(`${from}-${to}`, delay);
    return true;
  }

  #addToAirports({ from, to, delay }: RawFlight): void {
    this.#departures.set(from, (this.#departures.get(from) ?? 0) + 1);
    const arrivals = this.#arrivals.get(to) ?? { ...NOTHING };
    const minutesLate = Math.max(0, delay);
    this.#minutesLate += minutesLate;
    arrivals.flights += 1;
    arrivals.onTime += Number(delay < 15);
    arrivals.minutesLate += minutesLate;
    this.#arrivals.set(to, arrivals);
  }

  #addToTimes({ day, time, delay }: RawFlight): void {
    const ofDay = this.#days.get(day) ?? { ...NOTHING };
    const hour = Number(time.split(':')[0]);
    const ofHour = this.#hours.get(hour) ?? { ...NOTHING };
    for (const count of [ofDay, ofHour]) {
      count.flights += 1;
      count.onTime += Number(delay < 15);
    }
    this.#days.set(day, ofDay);
    this.#hours.set(hour, ofHour);
  }

  #airports(): string[] {
    return [...new Set([...this.#departures.keys(), ...this.#arrivals.keys()])].sort();
  }

  #busiest(): { airport: string; flights: number }[] {
    const flights = (airport: string): number =>
      (this.#departures.get(airport) ?? 0) + (this.#arrivals.get(airport)?.flights ?? 0);
    return this.#airports()
      .map((airport) => ({ airport, flights: flights(airport) }))
      .sort((a, b) => b.flights - a.flights)
      .slice(0, 3);
  }

  #longestDelay(): Answers['longestDelay'] {
    const text = (one: { departed: string; route: string }): string => one.departed + one.route;
    return [...this.#records].sort((a, b) => b.delay - a.delay || (text(a) < text(b) ? -1 : 1))[0];
  }

  #disruptions(): { route: string; day: string }[] {
    return [...this.#severeOfRouteAndDay].flatMap(([route, days]) =>
      [...days].filter(([, severe]) => severe >= 3).map(([day]) => ({ route, day })),
    );
  }
}

const NOTHING = { flights: 0, onTime: 0, minutesLate: 0 };

/** The most and the least punctual; of equals the first, in the order of their keys. */
function extremes<Key>(
  counts: readonly (readonly [Key, Count])[],
  nameOf: (key: Key) => string,
): [best: Punctuality | undefined, worst: Punctuality | undefined] {
  let best: Punctuality | undefined;
  let worst: Punctuality | undefined;
  for (const [key, { flights, onTime }] of counts) {
    const one = { name: nameOf(key), flights, onTime };
    if (!best || onTime / flights > best.onTime / best.flights) best = one;
    if (!worst || onTime / flights < worst.onTime / worst.flights) worst = one;
  }
  return [best, worst];
}

function mostOften(routes: readonly string[]): { route: string; times: number } | undefined {
  const times = new Map<string, number>();
  for (const route of [...routes].sort()) times.set(route, (times.get(route) ?? 0) + 1);
  let most: { route: string; times: number } | undefined;
  for (const [route, count] of times) if (count > (most?.times ?? 0)) most = { route, times: count };
  return most;
}

function sum<Key>(counts: ReadonlyMap<Key, Count>, of: (count: Count) => number): number {
  return [...counts.values()].reduce((total, count) => total + of(count), 0);
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}
