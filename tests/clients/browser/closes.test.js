// What a page learns when the broker closes its connection, and how it reconnects.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from '../node/support/broker.js';
import { unique } from './support/names.js';
import { browse, testEach } from './support/test.js';

const broker = await Broker.start();
after(() => broker.stop());
const stage = await browse();

// What the page does wrong, the ERROR, and the close code.
const REFUSED = [
  ['a SEND to a wildcard', /wildcard/, 1002, ({ client }) => client.publish({ destination: '/topic/*' })],
  ['an unknown kind of destination', /\/durable\//, 1002, ({ client }) => client.subscribe('/durable/x', () => {})],
  ['an undecodable frame', /SHOUT/, 1002, ({ client }) => client.webSocket.send('SHOUT\n\n\0')],
  ['bytes that are no UTF-8', /UTF-8/, 1007, ({ client }) => {
    client.webSocket.send(Uint8Array.of(...new TextEncoder().encode('SEND\na:'), 255, 10, 10, 0));
  }],
  ['a body that is too large', /./, 1009, ({ client }) => {
    client.publish({ destination: '/topic/large', body: 'x'.repeat(5 << 20) });
  }],
  ['too many transactions', /transactions/, 1013, ({ client }) => {
    for (let n = 0; n < 17; n++) client.begin();
  }],
];

for (const [what, message, code, misbehave] of REFUSED) {
  testEach(`${what} is an ERROR and closes with ${code}`, stage, broker, {}, async ({ connect, combination }) => {
    const tab = await connect();
    await tab.run(misbehave);
    const { error, close, more } = await tab.run(async (peer) => {
      return { error: await peer.errors.next(), close: await peer.closes.next(), more: peer.errors.length };
    });
    // At 1.1 stomp.js does not unescape headers.
    const text = combination.version === '1.1' ? error.headers.message.replaceAll('\\c', ':') : error.headers.message;
    assert.match(text, message);
    assert.equal(close.code, code);
    assert.ok(text.startsWith(close.reason) && close.reason, `the reason is ${close.reason}`);
    // The close is not clean if the page had unsent data.
    assert.ok(close.wasClean || code === 1009);
    assert.equal(more, 0, 'it says so once');
  });
}

for (const [what, end, code, wasClean] of [
  ['is killed', () => broker.kill(), 1006, false],
  ['is stopped', () => broker.stop(), 1001, true],
]) {
  testEach(`the page reconnects after the broker ${what}`, stage, broker, {}, async ({ connect }) => {
    const destination = unique();
    const tab = await connect({ reconnectDelay: 100 });
    await tab.run(async (peer, destination) => {
      await peer.subscribe(destination);
      // As the guides advise: subscribe at each CONNECTED.
      peer.client.onConnect = async () => peer.connects.push(await peer.subscribe(destination));
    }, destination);

    await end();
    const close = await tab.run((peer) => peer.closes.next());
    assert.deepEqual([close.code, close.wasClean], [code, wasClean]);
    await broker.up();

    const seen = await tab.run(async (peer, destination) => {
      const { messages } = await peer.connects.next();
      await peer.publish({ destination, body: 'still here' });
      return { bodies: await peer.bodies(messages, 1), errors: peer.errors.length };
    }, destination);
    assert.deepEqual(seen, { bodies: ['still here'], errors: 0 });
  });
}
