// Ack modes and transactions from a page.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from '../node/support/broker.js';
import { unique } from './support/names.js';
import { browse, testEach } from './support/test.js';

const broker = await Broker.start();
after(() => broker.stop());
const stage = await browse();

/** The messages another client finds in a queue, and the first new one; the older ones come before it. */
async function left(tab, queue, count) {
  return tab.run(
    async (peer, { queue, count }) => {
      const { messages } = await peer.subscribe(queue, { ack: 'client' });
      const found = await peer.bodies(messages, count);
      await peer.publish({ destination: queue, body: 'new' });
      return [...found, (await messages.next()).body];
    },
    { queue, count },
  );
}

for (const [ack, rest] of [
  ['client', ['4 again', 'new']],
  ['client-individual', ['1 again', '2 again', '4 again', 'new']],
]) {
  testEach(`${ack}: what was not acknowledged goes to another tab`, stage, broker, {}, async ({ connect }) => {
    const queue = unique('/queue/');
    const [consumer, other] = [await connect(), await connect()];
    await consumer.run(
      async (peer, { queue, ack }) => {
        for (const body of ['1', '2', '3', '4']) await peer.publish({ destination: queue, body });
        const held = await (await peer.subscribe(queue, { ack })).messages.take(4);
        held[2].ack();
        await peer.settled();
      },
      { queue, ack },
    );
    await consumer.page.close();
    assert.deepEqual(await left(other, queue, rest.length - 1), rest);
  });
}

testEach('client: a NACK returns all messages up to it', stage, broker, {}, async ({ connect }) => {
  const tab = await connect();
  const seen = await tab.run(async (peer, queue) => {
    for (const body of ['1', '2', '3']) await peer.publish({ destination: queue, body });
    const { messages } = await peer.subscribe(queue, { ack: 'client' });
    const held = await messages.take(3);
    held[1].nack();
    const back = await peer.bodies(messages, 2);
    await peer.settled();
    return { back, more: messages.length };
  }, unique('/queue/'));
  assert.deepEqual(seen, { back: ['1 again', '2 again'], more: 0 });
});

testEach('client-individual: a NACK returns a message until it is settled', stage, broker, {}, async ({ connect }) => {
  const queue = unique('/queue/');
  const [consumer, other] = [await connect(), await connect()];
  const back = await consumer.run(async (peer, queue) => {
    for (const body of ['1', '2', '3']) await peer.publish({ destination: queue, body });
    const { messages } = await peer.subscribe(queue, { ack: 'client-individual' });
    const held = await messages.take(3);
    held[1].nack();
    const again = await messages.next();
    for (const message of [held[0], again, held[2]]) message.ack();
    await peer.settled();
    return { body: again.body, redelivered: again.headers.redelivered, more: messages.length };
  }, queue);
  assert.deepEqual(back, { body: '2', redelivered: 'true', more: 0 });
  await consumer.page.close();
  assert.deepEqual(await left(other, queue, 0), ['new']);
});

for (const kind of ['/queue/', '/topic/']) {
  testEach(`a transaction to ${kind} is all or nothing`, stage, broker, {}, async ({ connect }) => {
    const tab = await connect();
    const seen = await tab.run(async (peer, destination) => {
      const { messages } = await peer.subscribe(destination);
      const send = (body, { id }) => peer.publish({ destination, body, headers: { transaction: id } });

      const committed = peer.client.begin();
      await send('1', committed);
      await send('2', committed);
      await peer.settled();
      const early = messages.length;
      committed.commit();

      const aborted = peer.client.begin();
      await send('never', aborted);
      aborted.abort();

      await peer.publish({ destination, body: 'later' });
      return { early, bodies: await peer.bodies(messages, 3) };
    }, unique(kind));
    assert.deepEqual(seen, { early: 0, bodies: ['1', '2', 'later'] });
  });
}

testEach('an ACK of an aborted transaction has no effect', stage, broker, {}, async ({ connect }) => {
  const queue = unique('/queue/');
  const [consumer, other] = [await connect(), await connect()];
  await consumer.run(async (peer, queue) => {
    for (const body of ['1', '2']) await peer.publish({ destination: queue, body });
    const held = await (await peer.subscribe(queue, { ack: 'client-individual' })).messages.take(2);
    const [committed, aborted] = [peer.client.begin(), peer.client.begin()];
    held[0].ack({ transaction: committed.id });
    held[1].ack({ transaction: aborted.id });
    committed.commit();
    aborted.abort();
    await peer.settled();
  }, queue);
  await consumer.page.close();
  assert.deepEqual(await left(other, queue, 1), ['2 again', 'new']);
});
