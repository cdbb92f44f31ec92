import type { ReceivedEvent, ReceiverContext, Repository } from '@refold/core';
import { repositoryOf } from '@refold/inversify';
import { inject, injectable } from 'inversify';
import type { ShipParcel } from '../contract.js';
import { Parcel } from './parcel.js';

@injectable()
export class ShippingDesk {
  constructor(@inject(repositoryOf(Parcel)) private readonly parcels: Repository<Parcel>) {}

  async ship(
    { data: { order, address } }: ReceivedEvent<ShipParcel>,
    { unit }: ReceiverContext,
  ): Promise<void> {
    await this.parcels.create(order, (parcel) => parcel.ship(address), { transaction: unit });
  }
}
