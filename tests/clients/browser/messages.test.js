// Messages published by pages arrive, unchanged and in order.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from '../node/support/broker.js';
import { unique } from './support/names.js';
import { browse, testEach } from './support/test.js';

const broker = await Broker.start();
after(() => broker.stop());
const stage = await browse();

const MEBIBYTE = 1 << 20;
const TEXTS = ['hello', '', 'Žluťoučký kůň, 日本語', '🐎 👩‍👩‍👧 𝄞', '\n\nMESSAGE\r\nnot-a:header\r\n\n'];

testEach('text arrives', stage, broker, {}, async ({ connect }) => {
  const destination = unique();
  const tab = await connect();
  const arrived = await tab.run(
    async (peer, { destination, texts }) => {
      const { messages } = await peer.subscribe(destination);
      for (const body of texts) await peer.publish({ destination, body, headers: { 'x-says': 'Žofie 🐎' } });
      return (await messages.take(texts.length)).map(({ body, headers }) => ({ body, headers }));
    },
    { destination, texts: TEXTS },
  );
  assert.deepEqual(arrived.map(({ body }) => body), TEXTS);
  for (const { headers } of arrived) {
    assert.equal(headers.destination, destination);
    assert.ok(headers['message-id']);
    assert.equal(headers['x-says'], 'Žofie 🐎');
  }
});

testEach('bytes arrive both ways, including NULs and invalid UTF-8', stage, broker, {}, async ({ connect }) => {
  const [here, there] = [unique(), unique()];
  const [asks, answers] = [await connect(), await connect()];
  await answers.run(
    async (peer, { here, there }) => {
      const invert = ({ binaryBody }) => {
        const headers = { 'content-type': 'application/octet-stream' };
        peer.client.publish({ destination: there, binaryBody: binaryBody.map((byte) => 255 - byte), headers });
      };
      const { id, arrival } = peer.receipt();
      peer.client.subscribe(here, invert, { receipt: id });
      await arrival;
    },
    { here, there },
  );
  const returned = await asks.run(
    async (peer, { here, there }) => {
      const { messages } = await peer.subscribe(there);
      const binaryBody = Uint8Array.from({ length: 512 }, (_, i) => i % 256);
      await peer.publish({ destination: here, binaryBody });
      return [...(await messages.next()).binaryBody];
    },
    { here, there },
  );
  assert.deepEqual(returned, Array.from({ length: 512 }, (_, i) => 255 - (i % 256)));
});

testEach('text in binary WebSocket frames arrives as text', stage, broker, {}, async ({ connect }) => {
  const tab = await connect({ forceBinaryWSFrames: true });
  const body = await tab.run(async (peer, destination) => {
    const { messages } = await peer.subscribe(destination);
    await peer.publish({ destination, body: 'as bytes 🐎' });
    return (await messages.next()).body;
  }, unique());
  assert.equal(body, 'as bytes 🐎');
});

testEach('a mebibyte arrives, as text and as bytes', stage, broker, {}, async ({ connect }) => {
  const tab = await connect();
  const equal = await tab.run(
    async (peer, { destination, size }) => {
      const { messages } = await peer.subscribe(destination);
      const body = 'ž🐎'.repeat(size / 6);
      await peer.publish({ destination, body });
      const text = (await messages.next()).body === body;

      const binaryBody = new Uint8Array(size).map((_, i) => i);
      await peer.publish({ destination, binaryBody });
      const arrived = (await messages.next()).binaryBody;
      return { text, bytes: arrived.length === size && arrived.every((byte, i) => byte === binaryBody[i]) };
    },
    { destination: unique(), size: MEBIBYTE },
  );
  assert.deepEqual(equal, { text: true, bytes: true });
});

testEach('a thousand messages at once arrive in order', stage, broker, {}, async ({ connect }) => {
  const destination = unique();
  const [reader, writer] = [await connect(), await connect()];
  await reader.run(async (peer, destination) => {
    peer.burst = (await peer.subscribe(destination)).messages;
  }, destination);
  await writer.run(({ client }, destination) => {
    for (let n = 0; n < 1_000; n++) client.publish({ destination, body: String(n) });
  }, destination);
  const arrived = await reader.run(async (peer) => {
    const bodies = await peer.bodies(peer.burst, 1_000);
    await peer.settled();
    return { bodies, more: peer.burst.length };
  });
  assert.deepEqual(arrived.bodies, Array.from({ length: 1_000 }, (_, n) => String(n)));
  assert.equal(arrived.more, 0);
});

testEach('receipts come in the order of their frames', stage, broker, {}, async ({ connect }) => {
  const tab = await connect();
  const { asked, arrived } = await tab.run(async (peer, destination) => {
    const arrived = [];
    const receipts = Array.from({ length: 20 }, () => {
      const { id, arrival } = peer.receipt();
      peer.client.publish({ destination, body: id, headers: { receipt: id } });
      return { id, done: arrival.then(() => arrived.push(id)) };
    });
    await Promise.all(receipts.map(({ done }) => done));
    return { asked: receipts.map(({ id }) => id), arrived };
  }, unique());
  assert.deepEqual(arrived, asked);
});

testEach('wildcards get what they match', stage, broker, {}, async ({ connect }) => {
  const topic = unique();
  const tab = await connect();
  const seen = await tab.run(async (peer, topic) => {
    const patterns = [`${topic}.*.eur`, `${topic}.#`, `${topic}.>`];
    const inboxes = [];
    for (const pattern of patterns) inboxes.push((await peer.subscribe(pattern)).messages);
    for (const name of ['.usd.eur', '.usd.czk', '', '/usd.eur']) {
      await peer.publish({ destination: topic + name, body: name || 'itself' });
    }
    await peer.settled();
    return Promise.all(inboxes.map((messages) => peer.bodies(messages, messages.length)));
  }, topic);
  const below = ['.usd.eur', '.usd.czk', 'itself'];
  assert.deepEqual(seen, [['.usd.eur'], below, below]);
});

testEach('two tabs chat', stage, broker, {}, async ({ connect }) => {
  const room = unique();
  const tabs = { ada: await connect(), bob: await connect() };
  for (const tab of Object.values(tabs)) {
    await tab.run(async (peer, room) => {
      peer.room = (await peer.subscribe(room)).messages;
    }, room);
  }
  const said = [['ada', 'hi 👋'], ['bob', 'hello!'], ['ada', 'how are you?'], ['bob', 'fine']];
  for (const [name, body] of said) {
    await tabs[name].run(
      (peer, { room, name, body }) => peer.publish({ destination: room, body, headers: { name } }),
      { room, name, body },
    );
    for (const tab of Object.values(tabs)) {
      const heard = await tab.run(async (peer) => {
        const { headers, body } = await peer.room.next();
        return [headers.name, body];
      });
      assert.deepEqual(heard, [name, body]);
    }
  }
});
