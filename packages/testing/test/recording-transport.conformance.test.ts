import { recordingTransport } from '@refold/testing';
import { transportConformance } from '@refold/testing/conformance';

transportConformance({
  name: 'recordingTransport',
  open: () => {
    const transport = recordingTransport();
    const rejected = new Set<string>();
    transport.reject(({ attributes: { id } }) => rejected.delete(id));
    return Promise.resolve({
      transport,
      received: (topic) => Promise.resolve(transport.received(topic)),
      rejected: (message) => {
        rejected.add(message.attributes.id);
        return message;
      },
      break: async () => transport.goAway(),
      mend: async () => transport.comeBack(),
      close: () => Promise.resolve(),
    });
  },
});
