/** A broker that tests and people use: one that was started for them, or one that runs already. */
export interface Service {
  /** As a reader knows it: `RabbitMQ 3.10.8`. */
  readonly name: string;
  /** Where it is, as a URL; the same after it has been started again. */
  readonly address: string;
  /** Ends the broker with SIGKILL, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again, with the same data and on the same port. */
  start(): Promise<void>;
  /** Ends it for good; nothing of it is left, not its data either. */
  stop(): Promise<void>;
}
