import { delivery, documentProjection, receiver } from '@refold/core';
import { injected, injectedTransport, readModelOf } from '@refold/inversify';
import { ParcelRefused, ParcelShipped, ShipParcel } from '../contract.js';
import { outgoing, runService } from '../service/service.js';
import { wireTo } from '../service/wires.js';
import { Parcel } from './parcel.js';
import { ShippingDesk } from './shipping-desk.js';

const parcels = documentProjection('parcels', {
  initial: () => ({ shipped: 0, refused: 0 }),
  key: () => 'all',
})
  .on(ParcelShipped, (sums) => ({ ...sums, shipped: sums.shipped + 1 }))
  .on(ParcelRefused, (sums) => ({ ...sums, refused: sums.refused + 1 }));

const answers = delivery('answers', { ...outgoing('orders'), transport: injectedTransport(wireTo('orders')) })
  .on(ParcelShipped)
  .on(ParcelRefused);

await runService({
  name: 'shipping',
  module: { aggregates: [Parcel], projections: [parcels], deliveries: [answers] },
  receiver: receiver('messages').on(ShipParcel, injected(ShippingDesk, 'ship')),
  questions: (container, app) => ({
    books: async () => {
      await app.waitFor(parcels, await app.head());
      return (await container.get(readModelOf(parcels)).get('all')) ?? { shipped: 0, refused: 0 };
    },
  }),
});
