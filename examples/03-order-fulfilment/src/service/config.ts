/** The services, each a process with a store of its own. */
export const SERVICES = ['orders', 'payments', 'inventory', 'shipping', 'notifications'] as const;

/** One of the services. */
export type ServiceName = (typeof SERVICES)[number];

/** Where a service keeps its log and its state. */
export type StoreConfig =
  | { readonly kind: 'sqlite'; readonly file: string }
  | { readonly kind: 'postgres'; readonly url: string; readonly schema: string };

/** How the services reach each other. */
export type WireConfig =
  | {
      readonly kind: 'webhook';
      readonly ports: Readonly<Record<ServiceName, number>>;
      /** Signs what they send each other. */
      readonly secret: string;
    }
  | { readonly kind: 'rabbitmq'; readonly url: string; readonly prefix: string };

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
