import { memoryStore } from '@refold/core';
import { describeStore } from '@refold/testing/conformance';

describeStore('memoryStore', {
  open: (_place, options) => Promise.resolve(memoryStore(options)),
  lacks: { instances: 'what is in memory ends with the instance' },
});
