// Tabs that are closed, reloaded or left: the broker forgets them.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { retry } from '../node/support/time.js';
import { unique } from './support/names.js';
import { ObservedBroker } from './support/observed.js';
import { browse, testEach } from './support/test.js';

const broker = await ObservedBroker.start();
after(() => broker.stop());
const stage = await browse();

const closed = (reason) => broker.metric(`stompd_connections_closed_total{reason="${reason}"}`);

async function subscriptions(count) {
  await retry(`${count} subscriptions`, async () => (await broker.metric('stompd_subscriptions')) === count, 30_000);
}

/** Makes two subscriptions and checks that the broker has no others. */
async function subscribe(tab, destination) {
  await tab.run(async (peer, destination) => {
    peer.inbox = (await peer.subscribe(destination)).messages;
    await peer.subscribe(`${destination}.#`);
  }, destination);
  await subscriptions(2);
}

for (const [how, leave] of [
  ['is closed', (page) => page.close()],
  ['crashes', (page) => page.goto('chrome://crash').catch(() => {})],
]) {
  testEach(`the subscriptions of a tab that ${how} end`, stage, broker, {}, async ({ connect }) => {
    const tab = await connect();
    await subscribe(tab, unique());
    await leave(tab.page);
    await subscriptions(0);
  });
}

// A page that is navigated away from is kept, with its WebSocket, for "back", unless it closes the WebSocket itself.
for (const [event, leave] of [
  ['beforeunload', (page) => page.close({ runBeforeUnload: true })],
  ['pagehide', (page) => page.goto('about:blank')],
]) {
  testEach(`a page that disconnects in ${event} reaches the broker`, stage, broker, {}, async ({ connect }) => {
    const tab = await connect();
    await subscribe(tab, unique());
    await tab.run(({ client }, event) => addEventListener(event, () => void client.deactivate()), event);
    const before = await closed('disconnect');
    await leave(tab.page);
    await subscriptions(0);
    await retry('the end by DISCONNECT', async () => (await closed('disconnect')) === before + 1);
  });
}

testEach('a reloaded page has only its new subscriptions', stage, broker, {}, async ({ connect }) => {
  const destination = unique();
  const tab = await connect();
  await subscribe(tab, destination);
  await tab.page.reload();
  await subscriptions(0);
  await tab.connect();
  await subscribe(tab, destination);
  const seen = await tab.run(async (peer, destination) => {
    await peer.publish({ destination, body: 'once' });
    await peer.settled();
    return peer.bodies(peer.inbox, peer.inbox.length);
  }, destination);
  assert.deepEqual(seen, ['once']);
});
