import type { ReceivedEvent, ReceiverContext, Repository } from '@refold/core';
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

  async reserve(
    { data: { order, item, quantity } }: ReceivedEvent<ReserveStock>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    await this.shelves.update(item, (shelf) => shelf.reserve(order, quantity), { transaction: unit });
  }

  async release(
    { data: { order, item } }: ReceivedEvent<ReleaseStock>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    await this.shelves.update(item, (shelf) => shelf.release(order), { transaction: unit });
  }

  async handOver(
    { data: { order, item } }: ReceivedEvent<HandOverStock>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    await this.shelves.update(item, (shelf) => shelf.handOver(order), { transaction: unit });
  }
}
