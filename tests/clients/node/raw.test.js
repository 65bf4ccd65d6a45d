// The WebSocket without a library: input that stomp.js never sends but others do.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, test } from 'node:test';

import WebSocket from 'ws';

import { Broker } from './support/broker.js';
import { Inbox, limit } from './support/time.js';

const broker = await Broker.start();
after(() => broker.stop());

const CONNECT = 'CONNECT\naccept-version:1.2\n\n\0';

/** An open WebSocket; `frames` holds the text of each message. */
async function open(t, protocols = ['v12.stomp']) {
  const socket = new WebSocket(broker.url, protocols);
  t.after(() => socket.terminate());
  socket.frames = new Inbox('a WebSocket message');
  socket.closes = new Inbox('the WebSocket closes');
  socket.on('message', (data) => socket.frames.push(data.toString()));
  socket.on('close', (code) => socket.closes.push(code));
  await limit(once(socket, 'open'), 'the handshake');
  return socket;
}

/** Returns when the broker has read everything that was sent: Pong answers Ping in order. */
async function settled(socket) {
  const pong = once(socket, 'pong');
  socket.ping();
  await limit(pong, 'a Pong');
}

for (const [offered, chosen] of [
  [['v12.stomp', 'v11.stomp', 'v10.stomp'], 'v12.stomp'],
  [['v10.stomp', 'v11.stomp'], 'v11.stomp'],
  [['v10.stomp'], 'v10.stomp'],
  [[], ''],
]) {
  test(`of the subprotocols [${offered}] the broker chooses "${chosen}"`, async (t) => {
    assert.equal((await open(t, offered)).protocol, chosen);
  });
}

for (const [versions, chosen] of [
  ['1.0,1.1,2.0', '1.1'],
  ['1.2,1.0', '1.2'],
  [undefined, '1.0'],
]) {
  test(`accept-version ${versions} selects ${chosen} for any subprotocol`, async (t) => {
    const socket = await open(t, []);
    socket.send(versions ? `CONNECT\naccept-version:${versions}\n\n\0` : 'CONNECT\n\n\0');
    assert.match(await socket.frames.next(), new RegExp(`^CONNECTED\n(.*\n)*version:${chosen}\n`));
  });
}

test('no common version is an ERROR that lists the supported ones', async (t) => {
  const socket = await open(t);
  socket.send('CONNECT\naccept-version:2.0\n\n\0');
  const error = await socket.frames.next();
  assert.match(error, /^ERROR\n/);
  assert.match(error, /\nversion:1\.0,1\.1,1\.2\n/);
  assert.equal(await socket.closes.next(), 1002);
});

test('STOMP works like CONNECT', async (t) => {
  const socket = await open(t);
  socket.send('STOMP\naccept-version:1.2\nhost:any\n\n\0');
  assert.match(await socket.frames.next(), /^CONNECTED\n/);
});

test('a text message without NUL is an unfinished frame', async (t) => {
  const socket = await open(t);
  socket.send(CONNECT.slice(0, -1));
  await settled(socket);
  assert.equal(socket.frames.length, 0);
  socket.send('\0');
  assert.match(await socket.frames.next(), /^CONNECTED\n/);
});

test('a frame in single bytes, and three frames in one message', async (t) => {
  const socket = await open(t);
  for (const character of CONNECT) socket.send(character);
  assert.match(await socket.frames.next(), /^CONNECTED\n/);
  const send = 'SEND\ndestination:/topic/raw\n\nx\0';
  socket.send(`SUBSCRIBE\nid:1\ndestination:/topic/raw\nreceipt:a\n\n\0\n\r\n${send}${send}`);
  const commands = (await socket.frames.take(3)).map((frame) => frame.match(/^\w+/)[0]);
  assert.deepEqual(commands, ['RECEIPT', 'MESSAGE', 'MESSAGE']);
});

test('line ends and NULs between frames are ignored', async (t) => {
  const socket = await open(t);
  for (const nothing of ['\n', '\r\n', '\n\n\n', '']) socket.send(nothing);
  socket.send(`\n${CONNECT}`);
  assert.match(await socket.frames.next(), /^CONNECTED\n/);
  for (const nothing of ['\n', '\r\n', '\0', '\n\0\n']) socket.send(nothing);
  socket.send('DISCONNECT\nreceipt:end\n\n\0');
  assert.match(await socket.frames.next(), /^RECEIPT\nreceipt-id:end\n/);
});

test('after DISCONNECT come the RECEIPT and 1000', async (t) => {
  const socket = await open(t);
  socket.send(CONNECT);
  await socket.frames.next();
  socket.send('DISCONNECT\nreceipt:bye\n\n\0');
  assert.match(await socket.frames.next(), /^RECEIPT\nreceipt-id:bye\n/);
  assert.equal(await socket.closes.next(), 1000);
});

test('a heart-beat is a message of one byte', async (t) => {
  const socket = await open(t);
  socket.send('CONNECT\naccept-version:1.2\nheart-beat:0,500\n\n\0');
  await socket.frames.next();
  assert.equal(await socket.frames.next(20_000), '\n');
});

for (const [what, frame] of [
  ['a frame before CONNECT', 'SEND\ndestination:/topic/raw\n\nx\0'],
  ['a heart-beat header that is no pair of numbers', 'CONNECT\naccept-version:1.2\nheart-beat:soon\n\n\0'],
]) {
  test(`${what} is an ERROR`, async (t) => {
    const socket = await open(t);
    socket.send(frame);
    assert.match(await socket.frames.next(), /^ERROR\n/);
    assert.equal(await socket.closes.next(), 1002);
  });
}
