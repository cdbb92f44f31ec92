import { sqliteStore } from '@refold/sqlite';
import { describeStore } from '@refold/testing/conformance';
import { rmSync } from 'node:fs';
import { useFiles } from './files.js';

const files = useFiles();

for (const durability of ['full', 'normal'] as const) {
  describeStore(`sqliteStore, durability '${durability}'`, {
    open: (place, options) => sqliteStore(files.path(`${place}.db`), { ...options, durability }),
    discard: async (place) => rmSync(files.path(`${place}.db`)),
  });
}
