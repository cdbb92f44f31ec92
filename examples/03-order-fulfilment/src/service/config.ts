/** The services, each a process with a store of its own. */
export const SERVICES = ['orders', 'payments', 'inventory', 'shipping', 'notifications'] as const;

/** One of the services. */
export type ServiceName = (typeof SERVICES)[number];

/** Where a service keeps its log and its state. */
export type StoreConfig =
  | { readonly kind: 'sqlite'; readonly file: string }
  | { readonly kind: 'postgres'; readonly url: string; readonly schema: string };

/** Services that post their messages to each other. */
export interface WebhookConfig {
  readonly kind: 'webhook';
  readonly ports: Readonly<Record<ServiceName, number>>;
  /** Signs what they send. */
  readonly secret: string;
}

/** Services that take their messages out of queues. */
export interface RabbitmqConfig {
  readonly kind: 'rabbitmq';
  readonly url: string;
  /** What the names of this run's queues begin with. */
  readonly prefix: string;
}

/** Services that read their messages from topics. */
export interface KafkaConfig {
  readonly kind: 'kafka';
  readonly brokers: readonly string[];
  /** What the names of this run's topics begin with. */
  readonly prefix: string;
}

/** How the services reach each other. */
export type WireConfig = WebhookConfig | RabbitmqConfig | KafkaConfig;

/** What a service is told when it is started. */
export interface ServiceConfig {
  readonly store: StoreConfig;
  readonly wire: WireConfig;
}

/** What the starter gave this process. */
export function configOfThisProcess(): ServiceConfig {
  const [, , text = '{}'] = process.argv;
  return JSON.parse(text) as ServiceConfig;
}
