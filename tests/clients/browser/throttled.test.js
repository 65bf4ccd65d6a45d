// Pages whose timers do not run, so that stomp.js sends no heart-beats. Chromium answers Pings outside the page.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { pass, retry } from '../node/support/time.js';
import { unique } from './support/names.js';
import { ObservedBroker } from './support/observed.js';
import { browse, COMBINATIONS, testEach } from './support/test.js';
import { Tunnel } from './support/tunnel.js';

const INTERVAL = 1_000;
const INTERVALS = 5;
const LONG = INTERVALS * INTERVAL;
const ONCE = { combinations: COMBINATIONS.filter(({ version }) => version === '1.2') };
const beating = { heartbeatOutgoing: INTERVAL, reconnectDelay: 100 };

const broker = await ObservedBroker.start();
after(() => broker.stop());
// The throttling of a tab after 5 minutes in the background comes after a second: its timers run once a minute.
const stage = await browse(['--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1']);

/** Keeps the page busy. Returns a function that waits for the end. */
function compute(tab) {
  const done = tab.run((_, time) => {
    for (const end = performance.now() + time; performance.now() < end; );
  }, LONG);
  return () => done;
}

/** Suspends the page in the debugger until it is woken. */
async function pause(tab) {
  const session = await tab.page.context().newCDPSession(tab.page);
  await session.send('Debugger.enable');
  const paused = new Promise((resolve) => session.once('Debugger.paused', resolve));
  await session.send('Debugger.pause');
  await paused;
  return () => session.send('Debugger.resume');
}

/** Keeps the page behind another, until it has been silent for long. */
async function hide(tab, browser) {
  const front = await browser.tab();
  await front.bringToFront();
  await retry('the page is hidden', () => tab.run(() => document.visibilityState === 'hidden'));
  await retry('the page is silent', async () => (await tab.run((peer) => peer.silence())) > LONG, 90_000);
  return front;
}

/** The state of the page's connections. */
const fate = (tab) =>
  tab.run(({ closes, connects, errors }) => ({ closes: closes.length, connects: connects.length, errors: errors.length }));
const UNTOUCHED = { closes: 0, connects: 0, errors: 0 };

const pings = () => broker.metric('stompd_pings_sent_total');

for (const [what, stop] of [
  ['computes', compute],
  ['stands in the debugger', pause],
]) {
  testEach(`a page that ${what} for ${INTERVALS} intervals stays`, stage, broker, ONCE, async ({ connect }) => {
    const destination = unique();
    // A page of another site is in another process, and continues.
    const publisher = await connect({ host: 'localhost' });
    const tab = await connect(beating);
    await tab.run(async (peer, destination) => {
      peer.inbox = (await peer.subscribe(destination)).messages;
    }, destination);

    const before = await pings();
    const wake = await stop(tab);
    const bodies = [];
    for (let n = 1; n <= INTERVALS; n++) {
      await pass(INTERVAL);
      bodies.push(String(n));
      await publisher.run((peer, message) => peer.publish(message), { destination, body: String(n) });
    }
    await wake();

    assert.deepEqual(await tab.run((peer, count) => peer.bodies(peer.inbox, count), INTERVALS), bodies);
    assert.deepEqual(await fate(tab), UNTOUCHED);
    assert.ok((await tab.run((peer) => peer.silence())) > LONG - INTERVAL, 'it has sent nothing');
    assert.ok((await pings()) - before >= 2, `${(await pings()) - before} Pings`);
  });
}

testEach('a page in the background gets its messages', stage, broker, ONCE, async ({ connect, browser, t }) => {
  const destination = unique();
  const tab = await connect(beating);
  const front = await hide(tab, browser);
  t.after(() => front.close());
  const body = await tab.run(async (peer, destination) => {
    const { messages } = await peer.subscribe(destination);
    await peer.publish({ destination, body: 'in the background' });
    return (await messages.next()).body;
  }, destination);
  assert.equal(body, 'in the background');
  assert.deepEqual(await fate(tab), UNTOUCHED);
});

testEach('a page in the background whose Pongs are lost is cut', stage, broker, ONCE, async ({ connect, browser, t }) => {
  const tunnel = await Tunnel.to(broker.url);
  t.after(() => tunnel.close());
  const tab = await connect({ ...beating, reconnectDelay: 0, brokerURL: tunnel.url });
  const front = await hide(tab, browser);
  t.after(() => front.close());
  tunnel.mute();
  const { error, close } = await tab.run(async (peer) => {
    return { error: await peer.errors.next(), close: await peer.closes.next() };
  });
  assert.match(error.headers.message, /nothing was received for 2.5 s/);
  assert.equal(close.code, 4000);
});

testEach('a frozen page stays connected, and reconnects when it wakes', stage, broker, ONCE, async ({ connect }) => {
  const destination = unique();
  const tab = await connect(beating);
  await tab.run((peer, destination) => peer.subscribe(destination), destination);
  const session = await tab.page.context().newCDPSession(tab.page);
  const timeouts = await broker.metric('stompd_heart_beat_timeouts_total');
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  await pass(LONG);
  assert.equal(await broker.metric('stompd_subscriptions'), 1);
  assert.equal(await broker.metric('stompd_heart_beat_timeouts_total'), timeouts);

  // Chromium itself closes the WebSocket of a page when it wakes it.
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  await tab.page.bringToFront();
  const seen = await tab.run(async (peer, destination) => {
    const { code } = await peer.closes.next();
    await peer.connects.next();
    const { messages } = await peer.subscribe(destination);
    await peer.publish({ destination, body: 'awake' });
    return { code, bodies: await peer.bodies(messages, 1) };
  }, destination);
  assert.deepEqual(seen, { code: 1006, bodies: ['awake'] });
});
