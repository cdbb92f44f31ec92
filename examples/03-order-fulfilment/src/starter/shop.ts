import { SERVICES, type ServiceConfig, type ServiceName } from '../service/config.js';
import type { Books } from './books.js';
import { RunningService } from './running-service.js';

/** The five services, running. */
export class Shop {
  readonly #configOf: (service: ServiceName) => ServiceConfig;
  readonly #verbose: boolean;
  readonly #services = new Map<ServiceName, RunningService>();

  constructor(configOf: (service: ServiceName) => ServiceConfig, verbose: boolean) {
    this.#configOf = configOf;
    this.#verbose = verbose;
  }

  async open(): Promise<void> {
    await Promise.all(SERVICES.map((name) => this.start(name)));
  }

  async start(name: ServiceName): Promise<void> {
    this.#services.set(name, await RunningService.start(name, this.#configOf(name), this.#verbose));
  }

  service(name: ServiceName): RunningService {
    const service = this.#services.get(name);
    if (!service) throw new Error(`${name} is not running`);
    return service;
  }

  async books(): Promise<Books> {
    const [orders, payments, inventory, shipping, notifications] = await Promise.all([
      this.service('orders').ask<Books['orders']>('books'),
      this.service('payments').ask<Books['payments']>('books'),
      this.service('inventory').ask<Books['inventory']>('books'),
      this.service('shipping').ask<Books['shipping']>('books'),
      this.service('notifications').ask<Books['notifications']>('books'),
    ]);
    const letters = await Promise.all(SERVICES.map((name) => this.service(name).ask<number>('deadLetters')));
    const deadLetters = letters.reduce((sum, count) => sum + count, 0);
    return { orders, payments, inventory, shipping, notifications, deadLetters };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#services.values()].map((service) => service.stop()));
  }
}
