// Heart-beats in both directions, and which clients are cut without them.

import assert from 'node:assert/strict';
import { after, describe } from 'node:test';

import { Broker } from './support/broker.js';
import { testEach } from './support/client.js';
import { pass } from './support/time.js';

const broker = await Broker.start();
after(() => broker.stop());
/** The settings of a broker without a configuration. */
const plain = await Broker.start({ STOMPD__HEART_BEAT__SEND: '1s', STOMPD__HEART_BEAT__WANT: '10s' });
after(() => plain.stop());

const INTERVAL = 1_000;
const SHORT = 500;
const BEATING = ['1.2', '1.1'];

/** Suppresses a client's own heart-beats, as a throttled browser tab does. */
const mute = (socket) => {
  const send = socket.send.bind(socket);
  socket.send = (data, ...rest) => data === '\n' || send(data, ...rest);
};

// These tests mostly wait, so they run concurrently.
describe('heart-beats', { concurrency: true }, () => {
  const beating = { heartbeatOutgoing: INTERVAL, heartbeatIncoming: INTERVAL };

  testEach('arrive, and both sides stay connected', broker, { versions: BEATING }, async ({ connect }) => {
    const peer = await connect(beating);
    await pass(5 * INTERVAL);
    assert.ok(peer.beats.length >= 4, `${peer.beats.length} heart-beats in 5 intervals`);
    assert.equal(peer.closes.length, 0);
    await peer.publish({ destination: '/topic/alive', body: 'x' });
  });

  testEach('may come each second with the defaults', plain, { versions: BEATING }, async ({ connect }) => {
    const peer = await connect(beating);
    assert.equal(peer.connected.headers['heart-beat'], '1000,1000');
    await pass(5 * INTERVAL);
    assert.ok(peer.beats.length >= 4, `${peer.beats.length} heart-beats in 5 intervals`);
    const slow = await connect({ heartbeatOutgoing: 10_000, heartbeatIncoming: 10_000 });
    assert.equal(slow.connected.headers['heart-beat'], '1000,10000');
  });

  testEach('are absent at 1.0, and the client stays', broker, { versions: ['1.0'] }, async ({ connect }) => {
    const peer = await connect(beating);
    assert.equal(peer.connected.headers['heart-beat'], undefined);
    await pass(5 * INTERVAL);
    assert.equal(peer.beats.length, 0);
    await peer.publish({ destination: '/topic/alive', body: 'x' });
  });

  testEach('a throttled client that answers Pings stays', broker, { versions: BEATING }, async ({ connect }) => {
    const peer = await connect({ heartbeatOutgoing: SHORT, heartbeatIncoming: 0, tap: mute });
    await pass(5 * SHORT);
    assert.ok(peer.pings.length >= 2, `${peer.pings.length} Pings in 5 intervals`);
    assert.equal(peer.closes.length, 0);
    await peer.publish({ destination: '/topic/alive', body: 'x' });
  });

  testEach('a client that answers nothing is cut', broker, { versions: BEATING }, async ({ connect }) => {
    const peer = await connect({
      heartbeatOutgoing: SHORT,
      heartbeatIncoming: 0,
      tap: mute,
      socketOptions: { autoPong: false },
    });
    const start = Date.now();
    assert.ok((await peer.errors.next()).headers.message);
    assert.equal((await peer.closes.next()).code, 4000);
    const silence = (Date.now() - start) / SHORT;
    assert.ok(silence > 2 && silence < 3.2, `after ${silence} intervals`);
  });
});
