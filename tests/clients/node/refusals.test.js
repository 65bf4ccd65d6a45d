// A full queue: an ERROR, unless the publisher accepts refusals.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { bodies, testEach, unique } from './support/client.js';
import { left } from './support/queues.js';
import { Inbox } from './support/time.js';

const LENGTH = 3;

const broker = await Broker.start({ STOMPD__QUEUE__MAX_LENGTH: `${LENGTH}` });
after(() => broker.stop());

const FULL = Array.from({ length: LENGTH }, (_, n) => `${n}`);

/** A publisher that accepts refusals and passes them to `refusals`. */
async function resilient(connect) {
  const refusals = new Inbox('a refusal');
  const publisher = await connect({
    connectHeaders: { 'x-refusals': 'true' },
    onUnhandledMessage: (message) => refusals.push(message),
  });
  return { publisher, refusals };
}

testEach('a SEND to a full queue is an ERROR and closes with 1013', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const publisher = await connect();
  await publisher.publishAll(destination, FULL);
  publisher.client.publish({ destination, body: 'too much', headers: { receipt: 'mine' } });
  const { headers, body } = await publisher.errors.next();
  assert.match(headers.message, /full/);
  assert.equal(headers['receipt-id'], 'mine');
  assert.match(body, /x-refusals/, 'it says how to live with it');
  assert.equal((await publisher.closes.next()).code, 1013);
  assert.deepEqual(await left(connect, destination, LENGTH), FULL);
});

testEach('x-refusals: a SEND to a full queue is reported, the connection stays', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const { publisher, refusals } = await resilient(connect);
  await publisher.publishAll(destination, FULL);
  const order = [];
  for (const receipt of ['before', 'mine', 'after']) {
    publisher.client.watchForReceipt(receipt, () => order.push(receipt));
  }
  publisher.client.publish({ destination: unique(), body: 'x', headers: { receipt: 'before' } });
  publisher.client.publish({ destination, body: 'too much', headers: { receipt: 'mine' } });
  publisher.client.publish({ destination, body: 'too much' });
  publisher.client.publish({ destination: unique(), body: 'x', headers: { receipt: 'after' } });

  const [first, second] = await refusals.take(2);
  for (const { headers, body } of [first, second]) {
    assert.equal(headers.destination, '/stompd/refusals');
    assert.equal(headers.subscription, '/stompd/refusals');
    assert.equal(headers.reason, 'queue_full');
    assert.match(body, /full/);
    assert.ok(headers['message-id']);
  }
  assert.notEqual(first.headers['message-id'], second.headers['message-id']);
  assert.equal(first.headers['receipt-id'], 'mine');
  assert.equal(second.headers['receipt-id'], undefined);
  first.ack();
  await publisher.settled();
  assert.deepEqual(order, ['before', 'after'], 'no RECEIPT for what was refused');
  assert.equal(publisher.errors.length, 0);

  const { messages } = await (await connect()).subscribe(destination);
  assert.deepEqual(await bodies(messages, LENGTH), FULL);
  await publisher.publish({ destination, body: 'room again' });
  assert.deepEqual(await bodies(messages, 1), ['room again']);
  assert.equal(refusals.length, 0);
});

testEach('x-refusals: a refusal replaces the RECEIPT', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const { publisher, refusals } = await resilient(connect);
  const sent = Array.from({ length: 10 }, (_, n) => `${n}`);
  const wire = publisher.wire;
  await wire.take(wire.length);
  for (const body of sent) publisher.client.publish({ destination, body, headers: { receipt: body } });
  await refusals.take(sent.length - LENGTH);
  const frames = (await wire.take(sent.length)).map(({ data }) => data.toString());
  assert.deepEqual(frames.map((frame) => frame.match(/\nreceipt-id:(.*)\n/)[1]), sent);
  assert.deepEqual(
    frames.map((frame) => frame.match(/^\w+/)[0]),
    sent.map((_, n) => (n < LENGTH ? 'RECEIPT' : 'MESSAGE')),
  );
});

testEach('x-refusals: a SEND to an invalid destination is refused', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const { publisher, refusals } = await resilient(connect);
  publisher.client.publish({ destination: '/queue/*', body: 'x' });
  assert.equal((await refusals.next()).headers.reason, 'wildcard');
  publisher.client.publish({ destination, body: 'x', headers: { 'reply-to': '/temp-queue/x' } });
  assert.equal((await refusals.next()).headers.reason, 'reply_to');

  const tx = publisher.client.begin();
  const transaction = { transaction: tx.id };
  publisher.client.publish({ destination, body: 'never', headers: transaction });
  publisher.client.publish({ destination: '/queue/*', body: 'x', headers: transaction });
  assert.equal((await refusals.next()).headers.reason, 'wildcard');
  tx.commit();
  assert.equal((await refusals.next()).headers.reason, 'transaction_broken');

  await publisher.publish({ destination, body: 'later' });
  assert.deepEqual(await left(connect, destination, 1), ['later']);
  assert.equal(publisher.errors.length, 0);
});

testEach('x-refusals: a COMMIT is refused as a whole', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const topic = unique();
  const { publisher, refusals } = await resilient(connect);
  const witness = await (await connect()).subscribe(topic);
  await publisher.publish({ destination, body: 'there' });

  const tx = publisher.client.begin('mine');
  const transaction = { transaction: tx.id };
  publisher.client.publish({ destination: topic, body: 'never', headers: transaction });
  for (const body of FULL) publisher.client.publish({ destination, body, headers: transaction });
  tx.commit();
  const { headers } = await refusals.next();
  assert.equal(headers.destination, '/stompd/refusals');
  assert.equal(headers.reason, 'queue_full');

  publisher.client.begin('mine').abort(); // its id is free
  await publisher.publish({ destination: topic, body: 'later' });
  assert.deepEqual(await bodies(witness.messages, 1), ['later']);
  assert.deepEqual(await left(connect, destination, 1), ['there']);
  assert.equal(publisher.errors.length, 0);
});

testEach('x-refusals: an ACK in a refused COMMIT is undone', broker, {}, async ({ connect }) => {
  const [full, work] = [unique('/queue/'), unique('/queue/')];
  const { publisher, refusals } = await resilient(connect);
  await publisher.publishAll(full, FULL);
  await publisher.publish({ destination: work, body: '1' });
  const held = await (await publisher.subscribe(work, { ack: 'client' })).messages.next();
  const tx = publisher.client.begin();
  await publisher.ack(held, { transaction: tx.id });
  await publisher.publish({ destination: full, body: 'too much', headers: { transaction: tx.id } });
  tx.commit();
  assert.equal((await refusals.next()).headers.reason, 'queue_full');
  await publisher.cut();
  assert.deepEqual(await left(connect, work, 1), ['1 again']);
});

testEach('a COMMIT to a full queue is an ERROR and closes with 1013', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const publisher = await connect();
  await publisher.publish({ destination, body: 'there' });
  const tx = publisher.client.begin();
  for (const body of FULL) publisher.client.publish({ destination, body, headers: { transaction: tx.id } });
  tx.commit();
  assert.match((await publisher.errors.next()).headers.message, /full/);
  assert.equal((await publisher.closes.next()).code, 1013);
  assert.deepEqual(await left(connect, destination, 1), ['there']);
});

testEach('x-refusals: other faults are still an ERROR', broker, {}, async ({ connect }) => {
  const { publisher, refusals } = await resilient(connect);
  publisher.client.subscribe('/queue/*', () => {});
  assert.ok((await publisher.errors.next()).headers.message);
  assert.equal((await publisher.closes.next()).code, 1002);
  assert.equal(refusals.length, 0);
});

testEach('returned messages have room even in a full queue', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const [consumer, publisher] = [await connect(), await connect()];
  const { messages } = await consumer.subscribe(destination, { ack: 'client', 'prefetch-count': '2' });
  await publisher.publishAll(destination, ['a', 'b', ...FULL]);
  await messages.take(2);
  await consumer.cut();
  const again = await (await connect()).subscribe(destination, { ack: 'client' });
  const got = await bodies(again.messages, 2 + LENGTH);
  assert.deepEqual(got.sort(), ['0', '1', '2', 'a again', 'b again']);
});
