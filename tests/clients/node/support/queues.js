// Common code of the queue tests.

import assert from 'node:assert/strict';

import { bodies, unique } from './client.js';

export const ACK_MODES = ['client', 'client-individual'];
export const WITH_NACK = { versions: ['1.2', '1.1'] };

/** A queue with these bodies, and a consumer that holds them all. */
export async function holding(connect, sent, headers) {
  const queue = unique('/queue/');
  const consumer = await connect();
  await consumer.publishAll(queue, sent);
  const subscription = await consumer.subscribe(queue, headers);
  return { queue, consumer, subscription, held: await subscription.messages.take(sent.length) };
}

/** The messages another client finds in a queue, then the new ones; the older ones come before those. */
export async function left(connect, queue, count) {
  const peer = await connect();
  const { messages } = await peer.subscribe(queue, { ack: 'client' });
  const found = await bodies(messages, count);
  await peer.publish({ destination: queue, body: 'new' });
  assert.deepEqual(await bodies(messages, 1), ['new'], 'nothing else is there');
  return found;
}
