/** What a run has done, and what its kills have hit. */
export class Statistics {
  rounds = 0;
  stores = 0;
  writersKilled = 0;
  /** Writers killed while at least one of their appends was called and not yet acknowledged. */
  writersInFlight = 0;
  workersKilled = 0;
  /** Workers killed between the first handler call of a batch and the report of its commit. */
  workersMidBatch = 0;
  /** Builds beside the live read model, by a rebuild or a raised version, that a kill has interrupted. */
  interruptedBuilds = 0;
  events = 0;
  acknowledged = 0;
  refused = 0;
  /** What the tailing readers have read, all together; they begin anew in every round. */
  eventsFollowed = 0;
  connectionsCut = 0;
  databaseCrashes = 0;
  /** Appends in flight at a kill that were in the log afterwards, and those that were not. */
  landed = 0;
  vanished = 0;

  /** What no kill has hit: a run that proves nothing about it. A short run need not interrupt a build. */
  missed(): string[] {
    const missed: string[] = [];
    if (this.writersInFlight === 0) missed.push('no writer was killed with an append in flight');
    if (this.workersMidBatch === 0) missed.push('no worker was killed in the midst of a batch');
    if (this.rounds < LONG_RUN) return missed;
    if (this.landed === 0) missed.push('no append was killed between its commit and its acknowledgement');
    if (this.vanished === 0) missed.push('no append was killed before its commit');
    if (this.interruptedBuilds === 0) missed.push('no build was interrupted');
    return missed;
  }

  toString(): string {
    return [
      `${this.rounds} rounds on ${this.stores} stores, ${this.events} events, ${this.acknowledged} appends acknowledged`,
      `writers killed: ${this.writersKilled}, with an append in flight: ${this.writersInFlight}`,
      `appends in flight: ${this.landed} were in the log afterwards, ${this.vanished} were not`,
      `appends refused: ${this.refused}`,
      `workers killed: ${this.workersKilled}, in the midst of a batch: ${this.workersMidBatch}`,
      `builds interrupted: ${this.interruptedBuilds}`,
      `events followed by tailing readers, without a gap: ${this.eventsFollowed}`,
      `connections cut: ${this.connectionsCut}; database crashes: ${this.databaseCrashes}`,
    ].join('\n');
  }
}

const LONG_RUN = 50;
