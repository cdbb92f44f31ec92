import {
  inboxMessage,
  RevisionConflictError,
  Worker,
  type Application,
  type MessageDeliveryOptions,
} from '@refold/core';
import { refoldModule, startRefold, type RefoldModuleOptions } from '@refold/inversify';
import { Container } from 'inversify';
import { configOfThisProcess, SERVICES, type ServiceName } from './config.js';
import { answerQuestions, type Questions } from './questions.js';
import type { Reception } from './reception.js';
import { openStore } from './store.js';
import { wireOf, wireTo, type HandleMessage, type Wire } from './wires.js';

/** What a service is made of. */
export interface Service {
  readonly name: ServiceName;
  readonly module: Omit<RefoldModuleOptions, 'store'>;
  readonly reception: Reception;
  /** Binds what its classes need beside repositories and read models. */
  readonly bind?: (container: Container) => void;
  /** What the starter may ask it, beside how many dead letters there are. */
  readonly questions: (container: Container, application: Application) => Questions;
}

/** What all deliveries to other services have in common: few tries, then dead letters that wait for a command. */
export function outgoing(to: ServiceName): Omit<MessageDeliveryOptions, 'transport'> {
  return {
    topic: to,
    partitions: 4,
    retry: { maxAttempts: 3, firstDelayMs: 20 },
    deadLetters: { retryAfterMs: [] },
  };
}

/** Runs a service in this process until the starter stops it. */
export async function runService(service: Service): Promise<void> {
  const config = configOfThisProcess();
  const wire = await wireOf(config.wire);
  const container = containerOf(service, wire);
  const application = await startRefold(
    container,
    refoldModule({
      ...service.module,
      store: () => openStore(config.store),
      // A service that was killed takes its own work up again as soon as the lease of its former life is over.
      worker: { leaseMs: 2000 },
    }),
  );
  const intake = await wire.openIntake(service.name, once(application, container, service.reception));
  const end = new AbortController();
  const working = container.get(Worker).run({ signal: end.signal });

  answerQuestions({ ...common(application), ...service.questions(container, application) }, async () => {
    await intake.close();
    end.abort();
    await working;
    await container.unbindAllAsync();
  });
}

function containerOf({ reception, bind }: Service, wire: Wire): Container {
  const container = new Container();
  for (const other of SERVICES) {
    container
      .bind(wireTo(other))
      .toDynamicValue(() => wire.transportTo(other))
      .inSingletonScope();
  }
  for (const desk of reception.desks) container.bind(desk).toSelf().inSingletonScope();
  bind?.(container);
  return container;
}

/** Has every message answered exactly once, however often it comes. */
function once(application: Application, container: Container, reception: Reception): HandleMessage {
  const inbox = application.inbox('messages');
  return (message) =>
    whileContended(async () => {
      await inbox.once(inboxMessage(message.attributes), (transaction) =>
        reception.answer(container, message, transaction),
      );
    });
}

function common(application: Application): Questions {
  return {
    deadLetters: async () => {
      const all = await application.status();
      return all.reduce((sum, { deadLetters }) => sum + deadLetters, 0);
    },
  };
}

/** Inside a transaction nobody tries again by itself: somebody else was quicker, so all of it is done anew. */
async function whileContended(work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof RevisionConflictError) || attempt === 20) throw error;
    }
  }
}
