import { Aggregate, aggregate, applies, event } from '@refold/core';

/** A flight counts as on time when it arrives less than so many minutes late: the definition of the US DOT. */
export const ON_TIME_BELOW = 15;

/** A route's delay record is only worth telling from an hour on. */
export const RECORD_FROM = 60;

/** A flight this late is severely late; three of them in a day disrupt the route. */
export const SEVERE_FROM = 120;
export const SEVERE_FLIGHTS_OF_A_DISRUPTION = 3;

@event('RouteOpened')
export class RouteOpened {
  constructor(readonly distance: number) {}
}

@event('FlightLanded')
export class FlightLanded {
  /** `departed` is the local time at the origin, `2001-01-19T22:42`; `delay` the minutes late on arrival. */
  constructor(
    readonly departed: string,
    readonly delay: number,
  ) {}
}

@event('DelayRecordBroken')
export class DelayRecordBroken {
  constructor(
    readonly departed: string,
    readonly delay: number,
  ) {}
}

@event('RouteDisrupted')
export class RouteDisrupted {
  constructor(readonly day: string) {}
}

@event('DayClosed')
export class DayClosed {
  constructor(
    readonly day: string,
    readonly flights: number,
    readonly onTime: number,
  ) {}
}

/** A flight as it is reported to its route. */
export interface Flight {
  readonly departed: string;
  readonly delay: number;
  readonly distance: number;
}

/** The route does not accept a report: its rules say no. */
export class ReportRefused extends Error {
  override readonly name = 'ReportRefused';
}

/** One route between two airports, `LAX-LAS`: takes the reports of its flights, day by day. */
@aggregate('route')
export class Route extends Aggregate {
  #distance: number | undefined;
  #record = 0;
  #closedThrough = '';
  #day = '';
  #flights = 0;
  #onTime = 0;
  #severe = 0;

  /** @throws ReportRefused for a report that cannot be true, or comes after its day was closed */
  land(flight: Flight): void {
    this.#check(flight);
    const { departed, delay, distance } = flight;
    const breaksRecord = delay >= RECORD_FROM && delay > this.#record;
    const disrupts = delay >= SEVERE_FROM && this.#severe + 1 === SEVERE_FLIGHTS_OF_A_DISRUPTION;

    if (this.#distance === undefined) this.record(new RouteOpened(distance));
    this.record(new FlightLanded(departed, delay));
    if (breaksRecord) this.record(new DelayRecordBroken(departed, delay));
    if (disrupts) this.record(new RouteDisrupted(dayOf(departed)));
  }

  /** Ends the day at hand, if there is one: from now on nobody adds to its figures. */
  closeDay(): void {
    if (this.#flights > 0) this.record(new DayClosed(this.#day, this.#flights, this.#onTime));
  }

  @applies(RouteOpened) protected opened({ distance }: RouteOpened): void {
    this.#distance = distance;
  }

  @applies(FlightLanded) protected landed({ departed, delay }: FlightLanded): void {
    this.#day = dayOf(departed);
    this.#flights += 1;
    if (delay < ON_TIME_BELOW) this.#onTime += 1;
    if (delay >= SEVERE_FROM) this.#severe += 1;
  }

  @applies(DelayRecordBroken) protected recordBroken({ delay }: DelayRecordBroken): void {
    this.#record = delay;
  }

  @applies(DayClosed) protected dayClosed({ day }: DayClosed): void {
    this.#closedThrough = day;
    this.#flights = 0;
    this.#onTime = 0;
    this.#severe = 0;
  }

  #check({ departed, delay, distance }: Flight): void {
    const day = dayOf(departed);
    if (day <= this.#closedThrough) this.#refuse(departed, `${day} is closed`);
    if (this.#flights > 0 && day !== this.#day) {
      this.#refuse(departed, `${this.#day} must be closed before ${day} begins`);
    }
    if (this.#distance !== undefined && distance !== this.#distance) {
      this.#refuse(departed, `the route is ${this.#distance} miles long, not ${distance}`);
    }
    if (-delay >= minutesOfFlight(distance)) {
      this.#refuse(departed, `nobody arrives ${-delay} minutes early from ${distance} miles away`);
    }
  }

  #refuse(departed: string, reason: string): never {
    throw new ReportRefused(`${this.id} refuses its flight of ${departed}: ${reason}`);
  }
}

/** Half an hour to taxi, climb and approach, and 480 miles an hour in between: no flight makes up more than it takes. */
function minutesOfFlight(distance: number): number {
  return 30 + distance / 8;
}

/** `2001-01-19T22:42` → `2001-01-19` */
function dayOf(departed: string): string {
  return departed.slice(0, 10);
}
