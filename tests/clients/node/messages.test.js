// Published messages arrive, unchanged.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { testEach, unique, VERSIONS } from './support/client.js';
import { COLON_SEEN_BY, EVERY_BYTE, MEBIBYTE, MEBIBYTE_OF_BYTES, MEBIBYTE_OF_TEXT, NULS } from './support/samples.js';

const broker = await Broker.start();
after(() => broker.stop());

const TEXTS = {
  'plain text': 'hello',
  'no text': '',
  'two- and three-byte characters': 'Žluťoučký kůň, 日本語',
  'four-byte characters': '🐎 👩‍👩‍👧 𝄞',
  'line ends': '\n\nMESSAGE\r\nnot-a:header\r\n\n',
};

testEach('text arrives', broker, {}, async ({ connect, version }) => {
  const destination = unique();
  const peer = await connect();
  const { id, messages } = await peer.subscribe(destination);
  for (const [what, body] of Object.entries(TEXTS)) {
    await peer.publish({ destination, body, headers: { 'content-type': 'text/plain' } });
    const message = await messages.next();
    assert.equal(message.body, body, what);
    assert.equal(message.headers.destination, destination);
    assert.equal(message.headers.subscription, id);
    assert.equal(message.headers['content-type'], 'text/plain');
    assert.ok(message.headers['message-id']);
    assert.equal(message.headers.ack, undefined, `no ack header in auto (${version})`);
  }
});

testEach('bytes arrive, including NULs and invalid UTF-8', broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  const { messages } = await peer.subscribe(destination);
  for (const binaryBody of [EVERY_BYTE, Uint8Array.of(0), NULS]) {
    await peer.publish({ destination, binaryBody, headers: { 'content-type': 'application/octet-stream' } });
    const message = await messages.next();
    assert.deepEqual(Uint8Array.from(message.binaryBody), binaryBody);
  }
});

testEach('text in binary WebSocket frames arrives as text', broker, {}, async ({ connect }) => {
  const destination = unique();
  const [binary, text] = [await connect({ forceBinaryWSFrames: true }), await connect()];
  const inboxes = [await binary.subscribe(destination), await text.subscribe(destination)];
  await binary.publish({ destination, body: 'from React Native 🐎' });
  for (const { messages } of inboxes) assert.equal((await messages.next()).body, 'from React Native 🐎');
});

testEach('without content-length the body ends at the NUL', broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  const { messages } = await peer.subscribe(destination);
  await peer.publish({ destination, body: 'short 🐎', skipContentLengthHeader: true });
  const message = await messages.next();
  assert.equal(message.body, 'short 🐎');
  assert.equal(message.headers['content-length'], '10');
});

testEach('a mebibyte arrives', broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  const { messages } = await peer.subscribe(destination);

  await peer.publish({ destination, body: MEBIBYTE_OF_TEXT });
  assert.ok((await messages.next()).body === MEBIBYTE_OF_TEXT);

  await peer.publish({ destination, binaryBody: MEBIBYTE_OF_BYTES });
  assert.ok(Buffer.from((await messages.next()).binaryBody).equals(MEBIBYTE_OF_BYTES));
});

testEach('a mebibyte in pieces of 8 KiB arrives', broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect({ splitLargeFrames: true });
  const { messages } = await peer.subscribe(destination);
  // No emoji: stomp.js splits them in half.
  for (const body of ['x'.repeat(MEBIBYTE), 'ž'.repeat(MEBIBYTE / 2)]) {
    await peer.publish({ destination, body });
    assert.equal((await messages.next()).body, body);
  }
});

testEach('each WebSocket message holds one whole frame', broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  const { messages } = await peer.subscribe(destination);
  for (let n = 0; n < 200; n++) peer.client.publish({ destination, body: `${n}` });
  const bodies = (await messages.take(200)).map((message) => message.body);
  assert.deepEqual(bodies, Array.from({ length: 200 }, (_, n) => `${n}`), 'and in order');

  const frames = (await peer.wire.take(peer.wire.length)).map(({ data }) => data.toString());
  assert.equal(frames.length, 202, 'CONNECTED, RECEIPT and 200 times MESSAGE');
  for (const frame of frames) assert.equal(frame.indexOf('\0'), frame.length - 1);
});

const HEADERS = { 'correlation-id': '42', 'X-Case': 'Kept', 'x-words': 'žluťoučký 🐎', 'x-empty': '' };
const ESCAPED = { 'x-colon': 'a:b::c', 'x-line': 'one\ntwo', 'x-return': 'one\rtwo', 'x-path': 'C:\\Temp\\x' };

testEach("users' headers arrive unchanged", broker, {}, async ({ connect, version }) => {
  const destination = unique();
  const peer = await connect();
  const { messages } = await peer.subscribe(destination);
  // stomp.js escapes at 1.2 only; with older versions such values cannot be sent.
  const headers = version === '1.2' ? { ...HEADERS, ...ESCAPED } : HEADERS;
  await peer.publish({ destination, body: 'x', headers });
  const got = (await messages.next()).headers;
  for (const [name, value] of Object.entries(headers)) assert.equal(got[name], value, name);
  assert.equal(got.receipt, undefined, 'the receipt was for the broker');
});

testEach('a header is escaped as its receiver reads it', broker, {}, async ({ connect, version }) => {
  const destination = unique();
  const sender = await connect();
  const inboxes = {};
  for (const receiver of VERSIONS) {
    inboxes[receiver] = await (await connect({ version: receiver })).subscribe(destination);
  }
  await sender.publish({ destination, body: 'x', headers: { 'x-colon': 'a:b' } });
  for (const receiver of VERSIONS) {
    const { headers } = await inboxes[receiver].messages.next();
    assert.equal(headers['x-colon'], COLON_SEEN_BY[receiver], `${version} to ${receiver}`);
  }
});

testEach("users' headers keep their order", broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  const { messages } = await peer.subscribe(destination);
  const names = ['x-b', 'x-d', 'x-a', 'x-c'];
  await peer.publish({ destination, body: 'x', headers: Object.fromEntries(names.map((name) => [name, '1'])) });
  await messages.next();
  const sent = (await peer.wire.take(peer.wire.length)).map(({ data }) => data.toString());
  const frame = sent.find((text) => text.startsWith('MESSAGE'));
  assert.deepEqual(frame.match(/^x-\w/gm), names);
});

testEach("the broker's own headers cannot be forged", broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  const { id, messages } = await peer.subscribe(destination);
  const forged = { 'message-id': 'mine', subscription: 'mine', redelivered: 'true', passcode: 'secret' };
  await peer.publish({ destination, body: 'x', headers: forged });
  const { headers } = await messages.next();
  assert.notEqual(headers['message-id'], 'mine');
  assert.equal(headers.subscription, id);
  assert.equal(headers.redelivered, undefined);
  assert.equal(headers.passcode, undefined);
});
