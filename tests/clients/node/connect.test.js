// Opening and closing a session.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { testEach, VERSIONS } from './support/client.js';

const broker = await Broker.start();
after(() => broker.stop());

testEach('the requested version is used in both layers', broker, {}, async ({ connect, version }) => {
  const peer = await connect();
  assert.equal(peer.client.connectedVersion, version);
  assert.equal(peer.socket.protocol, `v${version.replace('.', '')}.stomp`);
  assert.match(peer.connected.headers.server, /^stompd\/\d/);
  assert.ok(peer.connected.headers.session);
});

testEach('each session has its own id', broker, { versions: ['1.2'] }, async ({ connect }) => {
  const [one, other] = [await connect(), await connect()];
  assert.notEqual(one.connected.headers.session, other.connected.headers.session);
});

testEach('the highest offered version is chosen', broker, { versions: ['1.2'] }, async ({ connect }) => {
  const peer = await connect({ version: VERSIONS });
  assert.equal(peer.socket.protocol, 'v12.stomp');
  assert.equal(peer.client.connectedVersion, '1.2');
});

testEach('without authentication any login is accepted unchanged', broker, {}, async ({ connect }) => {
  const peer = await connect({ connectHeaders: { login: 'C:\\ada:1', passcode: 'any\\thing' } });
  assert.equal(peer.connected.headers['user-name'], 'C:\\ada:1');
});

testEach('deactivate sees the RECEIPT of its DISCONNECT', broker, {}, async ({ connect }) => {
  const peer = await connect();
  await peer.client.deactivate();
  const receipt = await peer.disconnects.next();
  assert.match(receipt.headers['receipt-id'], /^close-/);
  assert.equal((await peer.closes.next()).code, 1000);
  assert.equal(peer.errors.length, 0);
});
