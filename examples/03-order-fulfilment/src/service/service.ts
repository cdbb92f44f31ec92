import { Worker, type Application, type MessageDeliveryOptions, type Receiver } from '@refold/core';
import { refoldModule, startRefold, type RefoldModuleOptions } from '@refold/inversify';
import { Container } from 'inversify';
import { configOfThisProcess, SERVICES, type ServiceName } from './config.js';
import { answerQuestions, type Questions } from './questions.js';
import { openStore } from './store.js';
import { wireOf, wireTo, type Wire } from './wires.js';

/** What a service is made of. */
export interface Service {
  readonly name: ServiceName;
  readonly module: Omit<RefoldModuleOptions, 'store'>;
  /** What answers the messages of the others: each exactly once, however often it comes. */
  readonly receiver: Receiver;
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
      receivers: [service.receiver],
      store: () => openStore(config.store),
      // A service that was killed takes its own work up again as soon as the lease of its former life is over.
      worker: { leaseMs: 2000 },
    }),
  );
  const intake = await wire.openIntake(service.name, (message) =>
    application.receive(service.receiver, message),
  );
  const end = new AbortController();
  const working = container.get(Worker).run({ signal: end.signal });

  answerQuestions({ ...common(application), ...service.questions(container, application) }, async () => {
    await intake.close();
    end.abort();
    await working;
    await container.unbindAllAsync();
  });
}

function containerOf({ bind }: Service, wire: Wire): Container {
  const container = new Container();
  for (const other of SERVICES) {
    container
      .bind(wireTo(other))
      .toDynamicValue(() => wire.transportTo(other))
      .inSingletonScope();
  }
  bind?.(container);
  return container;
}

function common(application: Application): Questions {
  return {
    deadLetters: async () => {
      const all = await application.status();
      return all.reduce((sum, { deadLetters }) => sum + deadLetters, 0);
    },
  };
}
