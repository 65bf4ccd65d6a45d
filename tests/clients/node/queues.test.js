// Queues: each message goes to one consumer, and is kept until there is one.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { bodies, testEach, unique, VERSIONS } from './support/client.js';
import { ACK_MODES } from './support/queues.js';
import { COLON_SEEN_BY, EVERY_BYTE, MEBIBYTE_OF_BYTES, MEBIBYTE_OF_TEXT, NULS } from './support/samples.js';
import { Inbox } from './support/time.js';

const broker = await Broker.start();
after(() => broker.stop());

for (const ack of ['auto', ...ACK_MODES]) {
  testEach(`messages wait for their consumer, in ${ack}`, broker, {}, async ({ connect, version }) => {
    const queue = unique('/queue/');
    const sent = ['1', '2', '3', '4', '5'];
    const publisher = await connect();
    await publisher.publishAll(queue, sent);
    await publisher.client.deactivate();

    const { id, messages } = await (await connect()).subscribe(queue, { ack });
    const got = await messages.take(sent.length);
    assert.deepEqual(got.map((message) => message.body), sent, 'in their order');
    assert.equal(new Set(got.map(({ headers }) => headers['message-id'])).size, sent.length);
    for (const { headers } of got) {
      assert.equal(headers.destination, queue);
      assert.equal(headers.subscription, id);
      assert.equal(headers.redelivered, undefined);
      assert.equal('ack' in headers, version === '1.2' && ack !== 'auto', 'ack is for 1.2, where it is needed');
    }
  });

  testEach(`consumers alternate, in ${ack}`, broker, {}, async ({ connect }) => {
    const queue = unique('/queue/');
    const [one, two, publisher] = [await connect(), await connect(), await connect()];
    const inboxes = [
      (await one.subscribe(queue, { ack })).messages,
      (await two.subscribe(queue, { ack })).messages,
      (await two.subscribe(queue, { ack })).messages,
    ];
    await publisher.publishAll(queue, ['1', '2', '3', '4', '5', '6']);
    assert.deepEqual(await Promise.all(inboxes.map((messages) => bodies(messages, 2))), [
      ['1', '4'],
      ['2', '5'],
      ['3', '6'],
    ]);
    await Promise.all([one.settled(), two.settled()]);
    assert.equal(inboxes.reduce((sum, { length }) => sum + length, 0), 0, 'each message once');
  });
}

testEach('a queue and a topic of the same name are independent', broker, {}, async ({ connect }) => {
  const name = unique('');
  const peer = await connect();
  const { messages } = await peer.subscribe(`/queue/${name}`);
  await peer.publish({ destination: `/topic/${name}`, body: 'to the topic' });
  await peer.publish({ destination: `/amq/queue/${name}`, body: "by RabbitMQ's name" });
  const message = await messages.next();
  assert.equal(message.body, "by RabbitMQ's name");
  assert.equal(message.headers.destination, `/queue/${name}`);
});

testEach('after UNSUBSCRIBE the others get all messages', broker, {}, async ({ connect }) => {
  const queue = unique('/queue/');
  const peer = await connect();
  const [ended, kept] = [await peer.subscribe(queue, { id: 'one' }), await peer.subscribe(queue)];
  await ended.unsubscribe();
  await peer.publishAll(queue, ['1', '2']);
  assert.deepEqual(await bodies(kept.messages, 2), ['1', '2']);
  await peer.subscribe(queue, { id: 'one' });
  assert.equal(ended.messages.length, 0);
});

const BODIES = {
  'text of all kinds': { body: 'Žluťoučký kůň, 日本語, 👩‍👩‍👧 𝄞\r\n\nMESSAGE\n' },
  'no text': { body: '' },
  'every byte': { binaryBody: EVERY_BYTE },
  'NULs': { binaryBody: NULS },
  'a mebibyte of text': { body: MEBIBYTE_OF_TEXT },
  'a mebibyte of bytes': { binaryBody: MEBIBYTE_OF_BYTES },
};

for (const [what, sent] of Object.entries(BODIES)) {
  testEach(`${what} leaves a queue unchanged, also when redelivered`, broker, {}, async ({ connect }) => {
    const queue = unique('/queue/');
    const [first, second] = [await connect(), await connect()];
    await first.publish({ destination: queue, ...sent });
    const arrived = async (peer) => {
      const { messages } = await peer.subscribe(queue, { ack: 'client' });
      const { body, binaryBody, headers } = await messages.next();
      if (sent.binaryBody) assert.ok(Buffer.from(binaryBody).equals(sent.binaryBody));
      else assert.ok(body === sent.body);
      return headers;
    };
    await arrived(first);
    await first.cut();
    assert.equal((await arrived(second)).redelivered, 'true');
  });
}

testEach('messages of one version reach clients of another', broker, {}, async ({ connect }) => {
  const queue = unique('/queue/');
  const sender = await connect();
  const headers = { 'x-colon': 'a:b', 'x-words': 'žluťoučký 🐎', 'content-type': 'text/plain' };
  for (const receiver of VERSIONS) {
    await sender.publish({ destination: queue, body: `for ${receiver}`, headers });
    const { messages } = await (await connect({ version: receiver })).subscribe(queue, {
      ack: 'client',
      'prefetch-count': '1',
    });
    const message = await messages.next();
    assert.equal(message.body, `for ${receiver}`);
    assert.equal(message.headers['x-colon'], COLON_SEEN_BY[receiver]);
    assert.equal(message.headers['x-words'], headers['x-words']);
    assert.equal(message.headers['content-type'], 'text/plain');
    assert.equal(message.headers.receipt, undefined);
  }
});

testEach('a thousand messages keep their order', broker, {}, async ({ connect }) => {
  const queue = unique('/queue/');
  const peer = await connect();
  const sent = Array.from({ length: 1000 }, (_, n) => `${n}`);
  await peer.publishAll(queue, sent);
  const { messages } = await peer.subscribe(queue);
  assert.deepEqual(await bodies(messages, sent.length), sent);
});

for (const ack of ACK_MODES) {
  testEach(`workers that acknowledge each message finish all, in ${ack}`, broker, {}, async ({ connect }) => {
    const queue = unique('/queue/');
    const workers = [await connect(), await connect()];
    const sent = Array.from({ length: 200 }, (_, n) => `${n}`);
    const done = new Inbox('a message that is worked off');
    const busy = new Set();
    for (const worker of workers) {
      const work = (message) => {
        message.ack();
        busy.add(worker);
        done.push(message.body);
      };
      worker.client.subscribe(queue, work, { ack, 'prefetch-count': '1' });
      await worker.settled();
    }
    await (await connect()).publishAll(queue, sent);
    const got = await done.take(sent.length);
    assert.deepEqual(got.sort((one, other) => one - other), sent);
    assert.equal(busy.size, workers.length, 'no worker was idle');
    await Promise.all(workers.map((worker) => worker.settled()));
    assert.equal(done.length, 0, 'each message once');
  });
}

for (const [what, end] of [['is killed', () => broker.kill()], ['is stopped', () => broker.stop()]]) {
  testEach(`a worker continues after the broker ${what}`, broker, {}, async ({ connect }) => {
    const queue = unique('/queue/');
    const worker = await connect({ reconnectDelay: 50 });
    await worker.publish({ destination: queue, body: 'before' });
    const held = await (await worker.subscribe(queue, { ack: 'client' })).messages.next();

    await end();
    await worker.closes.next();
    await broker.up();
    await worker.connects.next();

    const { messages } = await worker.subscribe(queue, { ack: 'client' });
    worker.client.ack(held.headers.ack ?? held.headers['message-id'], held.headers.subscription);
    await worker.publish({ destination: queue, body: 'after' });
    const message = await messages.next();
    assert.equal(message.body, 'after');
    await worker.ack(message);
    assert.equal(worker.errors.length, 0);
  });
}
