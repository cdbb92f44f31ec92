/** What the starter may ask a service, by name. */
export type Questions = Readonly<Record<string, (argument: never) => Promise<unknown>>>;

/** A question on its way from the starter to a service. */
export interface Asked {
  readonly id: number;
  readonly question: string;
  readonly argument: unknown;
}

/** A service's answer on its way back; the first one, without an id, says that the service is up. */
export interface Answered {
  readonly id?: number;
  readonly answer?: unknown;
  readonly error?: string;
}

/** Answers the starter's questions until it says `stop`, or is gone. */
export function answerQuestions(questions: Questions, stop: () => Promise<void>): void {
  const send = (answered: Answered): void => void process.send?.(answered);
  const answer = async ({ id, question, argument }: Asked): Promise<void> => {
    try {
      const found = questions[question];
      if (!found) throw new Error(`This service knows no question "${question}"`);
      send({ id, answer: await found(argument as never) });
    } catch (error) {
      send({ id, error: String(error) });
    }
  };
  process.on('message', (asked: Asked) => {
    if (asked.question !== 'stop') void answer(asked);
    else {
      void stop().then(() => {
        send({ id: asked.id });
        process.disconnect();
      });
    }
  });
  process.on('disconnect', () => process.exit());
  send({});
}
