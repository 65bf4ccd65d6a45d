// Bursts larger than an outbox: a page that reads gets them, and one that does not learns why it was cut.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from '../node/support/broker.js';
import { BURSTS, burst } from '../node/support/burst.js';
import { unique } from './support/names.js';
import { browse, testEach } from './support/test.js';

const broker = await Broker.start();
after(() => broker.stop());
const stage = await browse();

for (const { count, size } of BURSTS) {
  testEach(`${count} messages of ${size} bytes at once arrive whole`, stage, broker, {}, async ({ connect }) => {
    const destination = unique();
    const tab = await connect();
    await tab.run((peer, destination) => {
      peer.seen = { next: 0, wrong: '' };
      peer.client.subscribe(destination, ({ body }) => {
        if (Number.parseInt(body, 10) !== peer.seen.next++) peer.seen.wrong ||= body.slice(0, 9);
      });
      return peer.settled();
    }, destination);
    await burst(broker, destination, count, size);
    const { seen, closes } = await tab.run(async (peer, count) => {
      while (peer.seen.next < count && peer.closes.length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return { seen: peer.seen, closes: peer.closes.length };
    }, count);
    assert.deepEqual({ seen, closes }, { seen: { next: count, wrong: '' }, closes: 0 });
  });
}
