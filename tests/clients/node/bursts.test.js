// Bursts larger than an outbox: a client that reads gets them, and one that does not learns why it was cut.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { BURSTS, burst } from './support/burst.js';
import { testEach, unique } from './support/client.js';
import { limit } from './support/time.js';

const broker = await Broker.start();
after(() => broker.stop());

for (const { count, size } of BURSTS) {
  testEach(`${count} messages of ${size} bytes at once arrive whole`, broker, { versions: ['1.2'] }, async ({ connect }) => {
    const destination = unique();
    const peer = await connect();
    let next = 0;
    const all = new Promise((resolve, reject) => {
      peer.client.subscribe(destination, ({ body }) => {
        if (Number.parseInt(body, 10) !== next) reject(new Error(`${body.slice(0, 9)} instead of ${next}`));
        if (++next === count) resolve();
      });
    });
    await peer.settled();
    await burst(broker, destination, count, size);
    const closed = peer.closes.next(60_000).then(({ code, reason }) => Promise.reject(new Error(`${code} ${reason}`)));
    await limit(Promise.race([all, closed]), `message ${count}`, 60_000);
  });
}

testEach('a client that pauses reading is closed with 4007', broker, { versions: ['1.2'] }, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  await peer.subscribe(destination);
  peer.socket._socket.pause();
  await burst(broker, destination, 30_000, 1000);
  // The broker has cut the client by now, or is about to.
  await sleep(300);
  peer.socket._socket.resume();
  const error = await peer.errors.next();
  assert.match(error.headers.message, /^slow consumer/);
  assert.equal((await peer.closes.next()).code, 4007);
});
