import type { Repository, StateUnit } from '@refold/core';
import { repositoryOf } from '@refold/inversify';
import { inject, injectable } from 'inversify';
import type { HandOverStock, ReleaseStock, ReserveStock } from '../contract.js';
import { Shelf } from './shelf.js';

@injectable()
export class StockDesk {
  constructor(@inject(repositoryOf(Shelf)) private readonly shelves: Repository<Shelf>) {}

  async deliver(item: string, quantity: number): Promise<void> {
    await this.shelves.upsert(item, (shelf) => shelf.deliver(quantity));
  }

  async reserve({ order, item, quantity }: ReserveStock, transaction: StateUnit): Promise<void> {
    await this.shelves.update(item, (shelf) => shelf.reserve(order, quantity), { transaction });
  }

  async release({ order, item }: ReleaseStock, transaction: StateUnit): Promise<void> {
    await this.shelves.update(item, (shelf) => shelf.release(order), { transaction });
  }

  async handOver({ order, item }: HandOverStock, transaction: StateUnit): Promise<void> {
    await this.shelves.update(item, (shelf) => shelf.handOver(order), { transaction });
  }
}
