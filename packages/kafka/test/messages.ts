import type { Message } from '@refold/core';
import { randomUUID } from 'node:crypto';

/** A message of a key, whose payload is the key and a number. */
export function messageTo(topic: string, key: string, n: number): Message {
  return {
    ...{ topic, key, headers: {} },
    attributes: {
      ...{ specversion: '1.0', id: randomUUID(), source: '/tests', type: 'Counted' },
      datacontenttype: 'application/json',
    },
    body: Buffer.from(JSON.stringify(`${key} ${n}`)),
  };
}
