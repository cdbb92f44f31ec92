import type { AggregateType } from './aggregates/aggregate-type.js';
import { DefinitionError } from './errors.js';
import { MESSAGE_CATEGORY } from './messages/message-stream.js';
import type { AnyProcessManager } from './processors/process-manager.js';
import type { Processor } from './processors/processor.js';

type Declared = Pick<Processor, 'name' | 'eventTypes' | 'everyType'> &
  Partial<Pick<Processor, 'collections'>>;

/** Names are checkpoints and tables: two processors that share one would overwrite each other. @throws DefinitionError */
export function checkNames({
  projections,
  deliveries,
  processManagers,
  receivers,
}: Readonly<
  Record<'projections' | 'deliveries' | 'processManagers' | 'receivers', readonly Declared[]>
>): void {
  const owners = new Map<string, string>();
  const names = new Map<string, string>();
  for (const [kind, processors] of [
    ['projection', projections],
    ['delivery', deliveries],
    ['process manager', processManagers],
    ['receiver', receivers],
  ] as const) {
    for (const one of processors) {
      const subject = `${kind.charAt(0).toUpperCase()}${kind.slice(1)} "${one.name}"`;
      const other = names.get(one.name);
      if (other !== undefined)
        throw new DefinitionError(
          subject,
          other === kind ? 'there are two of that name' : `there is a ${other} of that name`,
        );
      names.set(one.name, kind);
      checkHandlers(subject, one);
      checkCollections(subject, one, owners);
    }
  }
}

function checkHandlers(subject: string, { eventTypes, everyType }: Declared): void {
  if (eventTypes.length > 0 || everyType) return;
  throw new DefinitionError(subject, 'it handles no event: add handlers with .on(EventType, …)');
}

function checkCollections(
  subject: string,
  { name, collections = [] }: Declared,
  owners: Map<string, string>,
): void {
  for (const collection of collections) {
    const owner = owners.get(collection.name);
    if (owner !== undefined)
      throw new DefinitionError(subject, `"${collection.name}" is written by "${owner}" already`);
    owners.set(collection.name, name);
  }
}

/** The state of a process manager and the aggregates of a category would be in the same streams. */
export function checkStreams(managers: readonly AnyProcessManager[], types: readonly AggregateType[]): void {
  for (const { name } of managers) {
    if (name === MESSAGE_CATEGORY) {
      throw new DefinitionError(
        `Process manager "${name}"`,
        'the category of its streams is that of messages',
      );
    }
    if (!types.some(({ category }) => category === name)) continue;
    throw new DefinitionError(
      `Process manager "${name}"`,
      'an aggregate has this name for its category: call one of them otherwise',
    );
  }
}
