// How stomp.js handles a broker that stops and restarts.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { testEach, unique } from './support/client.js';

const broker = await Broker.start();
after(() => broker.stop());

for (const [what, end, code] of [
  ['is killed', () => broker.kill(), 1006],
  ['is stopped', () => broker.stop(), 1001],
]) {
  testEach(`the client reconnects after the broker ${what}`, broker, {}, async ({ connect }) => {
    const destination = unique();
    const peer = await connect({ reconnectDelay: 100 });
    await peer.subscribe(destination);

    await end();
    assert.equal((await peer.closes.next()).code, code);
    await broker.up();
    await peer.connects.next();

    const { messages } = await peer.subscribe(destination);
    await peer.publish({ destination, body: 'still here' });
    assert.equal((await messages.next()).body, 'still here');
    assert.equal(peer.errors.length, 0);
  });
}
