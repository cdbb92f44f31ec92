import {
  type Aggregate,
  aggregateInternals,
  type AggregateType,
  DeciderAggregate,
  EventCodec,
  messageOf,
  pendingEvents,
} from '@refold/core';
import { AggregateChecks, type Attempt, type StoredForm } from './aggregate-checks.js';
import { fail, shown, shownError } from './failure.js';
import { lossOf, parsed, throughJson } from './round-trip.js';

/** What a test calls on an aggregate. */
export type Act = (aggregate: Aggregate) => unknown;

/** The callback of `when`, or one that executes its command. */
export function actOf(actOrCommand: unknown): Act {
  if (isAct(actOrCommand)) return actOrCommand;
  return (aggregate) => {
    if (!isDecider(aggregate)) throw new TypeError('when() takes a callback; only deciders have commands');
    return aggregate.execute(actOrCommand);
  };
}

function isAct(actOrCommand: unknown): actOrCommand is Act {
  return typeof actOrCommand === 'function';
}

function isDecider(aggregate: Aggregate): aggregate is DeciderAggregate<unknown, unknown, object> {
  return aggregate instanceof DeciderAggregate;
}

/** Calls `act`, to its end. */
export function tried(act: Act, aggregate: Aggregate): Attempt | Promise<Attempt> {
  const done: Attempt = { aggregate, thrown: undefined };
  const refused = (error: unknown): Attempt => ({ aggregate, thrown: { error } });
  try {
    const result = act(aggregate);
    return result instanceof Promise ? result.then(() => done, refused) : done;
  } catch (error) {
    return refused(error);
  }
}

/** An aggregate type with a history, and what a repository would do with them. */
export class Subject {
  readonly #type: AggregateType;
  readonly #codec: EventCodec;
  readonly #history: readonly object[];
  readonly #id: string;

  constructor(type: AggregateType, history: readonly object[], id: string) {
    this.#type = type;
    this.#codec = new EventCodec(type.eventTypes);
    this.#history = history;
    this.#id = id;
  }

  /** The aggregate with its history, loaded anew. */
  folded(): Aggregate {
    const aggregate = this.#type.create(this.#id);
    this.#history.forEach((event, revision) => {
      const subject = `Given event ${revision + 1}, ${shown(event)},`;
      const { recorded } = throughJson(this.#codec, event, subject, { stream: this.#stream, revision });
      try {
        aggregateInternals.fold(aggregate, this.#codec.domainEvent(recorded));
      } catch (error) {
        fail(`${subject} does not fold: ${shownError(error)}`, error);
      }
      aggregateInternals.setRevision(aggregate, revision);
    });
    return aggregate;
  }

  /** What an attempt came to, after the checks that need no expectation. */
  checks(done: Attempt, act: Act): AggregateChecks {
    const again = this.#hasSnapshots ? tried(act, this.#restored()) : undefined;
    if (again instanceof Promise) fail('The callback of when() returned a promise only the second time');
    return this.#checked(done, again);
  }

  async checksLater(done: Attempt, act: Act): Promise<AggregateChecks> {
    return this.#checked(done, this.#hasSnapshots ? await tried(act, this.#restored()) : undefined);
  }

  get #hasSnapshots(): boolean {
    return this.#type.snapshotEvery !== undefined;
  }

  get #stream(): string {
    return `${this.#type.category}-${this.#id}`;
  }

  #checked(done: Attempt, again: Attempt | undefined): AggregateChecks {
    const checks = this.#checksOf(done);
    if (!again) return checks;
    const [whole, restored] = [checks.summary(), this.#checksOf(again).summary()];
    if (whole !== restored) {
      fail(
        `The aggregate ${whole}, but restored from a snapshot of the same history it ${restored}: ` +
          'snapshots keep every property of the instance except those that begin with #',
      );
    }
    if (!done.thrown) this.#throughSnapshot(done.aggregate);
    return checks;
  }

  #checksOf(attempt: Attempt): AggregateChecks {
    const events = attempt.thrown ? [] : pendingEvents(attempt.aggregate);
    const storedForms = (expected: readonly object[], kind: string): StoredForm[] =>
      expected.map((event, index) => {
        const subject = `${kind} event ${index + 1}, ${shown(event)},`;
        const revision = this.#history.length + index;
        return throughJson(this.#codec, event, subject, { stream: this.#stream, revision }).stored;
      });
    return new AggregateChecks(attempt, storedForms(events, 'Recorded'), (expected) =>
      storedForms(expected, 'Expected'),
    );
  }

  #restored(): Aggregate {
    const restored = this.#throughSnapshot(this.folded());
    aggregateInternals.setRevision(restored, this.#history.length - 1);
    return restored;
  }

  /** The aggregate as a snapshot gives it back; fails the test where that is not the same. */
  #throughSnapshot(aggregate: Aggregate): Aggregate {
    const restored = this.#snapshotAndBack(aggregate);
    const loss = lossOf(aggregate, restored, '');
    if (loss) {
      fail(
        `The state does not survive a snapshot: ${loss}. Keep JSON values in it, say how to make them again with ` +
          "class-transformer's @Type, or take no snapshots",
      );
    }
    return restored;
  }

  #snapshotAndBack(aggregate: Aggregate): Aggregate {
    try {
      const snapshot = parsed(this.#type.toSnapshot(aggregate), `snapshot of ${this.#stream}`);
      return this.#type.fromSnapshot(this.#id, snapshot);
    } catch (error) {
      return fail(`The state does not survive a snapshot: ${messageOf(error)}`, error);
    }
  }
}
