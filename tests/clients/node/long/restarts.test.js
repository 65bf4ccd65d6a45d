// Soak (`tests/run long`): many clients, many restarts; every client reconnects each time.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { Broker } from '../support/broker.js';
import { combinations, Peer, unique } from '../support/client.js';

const ROUNDS = 200;
const COPIES = 20;
const MESSAGES = 100;

const broker = await Broker.start();
after(() => broker.stop());

test(`${ROUNDS} restarts`, async (t) => {
  const destination = unique();
  const peers = Array.from({ length: COPIES }, () => combinations()).flat().map(
    ({ library, version }) => new Peer(library, { brokerURL: broker.url, version, reconnectDelay: 100 }),
  );
  t.after(() => Promise.all(peers.map((peer) => peer.client.deactivate({ force: true }))));
  for (const peer of peers) peer.client.activate();

  for (let round = 0; round < ROUNDS; round++) {
    const inboxes = await Promise.all(peers.map(async (peer) => {
      await peer.connects.next(20_000);
      return (await peer.subscribe(destination)).messages;
    }));
    const sent = Array.from({ length: MESSAGES }, (_, n) => `${round}.${n}`);
    for (const body of sent) peers[round % peers.length].client.publish({ destination, body });
    for (const messages of inboxes) {
      assert.deepEqual((await messages.take(MESSAGES)).map((message) => message.body), sent);
    }
    await (round % 2 ? broker.stop() : broker.kill());
    await broker.up();
  }
});
