// Opening and closing a session from a page.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from '../node/support/broker.js';
import { browse, testEach } from './support/test.js';

const broker = await Broker.start();
after(() => broker.stop());
const stage = await browse();

const EVERY = ['7.1', '7.5'].flatMap((release) =>
  ['umd', 'esm'].flatMap((form) => ['1.2', '1.1', '1.0'].map((version) => ({ release, form, version }))),
);

testEach('both layers use the requested version', stage, broker, { combinations: EVERY }, async ({ connect, combination }) => {
  const tab = await connect();
  const { version, protocol, connected } = await tab.run(({ client, connected }) => {
    return { version: client.connectedVersion, protocol: client.webSocket.protocol, connected };
  });
  assert.equal(version, combination.version);
  assert.equal(protocol, `v${combination.version.replace('.', '')}.stomp`);
  assert.match(connected.server, /^stompd\/\d/);
  assert.ok(connected.session);
});

testEach('the highest offered version is chosen', stage, broker, {}, async ({ connect }) => {
  const tab = await connect({ version: ['1.0', '1.1', '1.2'] });
  assert.equal(await tab.run(({ client }) => client.webSocket.protocol), 'v12.stomp');
});

testEach('the given login is accepted unchanged', stage, broker, {}, async ({ connect }) => {
  const tab = await connect({ connectHeaders: { login: 'Žofie: 🐎', passcode: 'any\\thing' } });
  assert.equal((await tab.run((peer) => peer.connected))['user-name'], 'Žofie: 🐎');
});

testEach('deactivate sees the RECEIPT of its DISCONNECT, and 1000', stage, broker, {}, async ({ connect }) => {
  const tab = await connect();
  const { receipt, close, errors } = await tab.run(async (peer) => {
    await peer.client.deactivate();
    return { receipt: await peer.disconnects.next(), close: await peer.closes.next(), errors: peer.errors.length };
  });
  assert.match(receipt['receipt-id'], /^close-/);
  assert.equal(close.code, 1000);
  assert.ok(close.wasClean);
  assert.equal(errors, 0);
});
