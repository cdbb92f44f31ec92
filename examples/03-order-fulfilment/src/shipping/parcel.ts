import { Aggregate, aggregate } from '@refold/core';
import { ParcelRefused, ParcelShipped } from '../contract.js';

/** A parcel to a customer's door. */
@aggregate('parcel', { events: [ParcelShipped, ParcelRefused] })
export class Parcel extends Aggregate {
  ship(address: string): void {
    if (address.includes('Atlantis'))
      this.record(new ParcelRefused(this.id, `nobody delivers to ${address}`));
    else this.record(new ParcelShipped(this.id));
  }
}
