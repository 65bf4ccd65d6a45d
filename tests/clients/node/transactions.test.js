// Transactions: all or nothing, and no effect before COMMIT.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { bodies, testEach, unique } from './support/client.js';
import { ACK_MODES, holding, left, WITH_NACK } from './support/queues.js';
import { EVERY_BYTE } from './support/samples.js';

const KINDS = ['/queue/', '/topic/'];

const broker = await Broker.start();
after(() => broker.stop());

for (const kind of KINDS) {
  testEach(`messages of a transaction to ${kind} are sent by COMMIT`, broker, {}, async ({ connect }) => {
    const destination = unique(kind);
    const [peer, other] = [await connect(), await connect()];
    const { messages } = await other.subscribe(destination);
    const tx = peer.client.begin();
    for (const body of ['1', '2']) {
      await peer.publish({ destination, body, headers: { transaction: tx.id } });
    }
    await peer.publish({ destination, body: 'outside' });
    assert.deepEqual(await bodies(messages, 1), ['outside']);
    tx.commit();
    const [first, second] = await messages.take(2);
    assert.deepEqual([first.body, second.body], ['1', '2']);
    assert.equal(first.headers.transaction, undefined);
    await other.settled();
    assert.equal(messages.length, 0);
  });

  testEach(`messages of an aborted transaction to ${kind} are never sent`, broker, {}, async ({ connect }) => {
    const destination = unique(kind);
    const peer = await connect();
    const { messages } = await peer.subscribe(destination);
    const tx = peer.client.begin();
    await peer.publish({ destination, body: 'never', headers: { transaction: tx.id } });
    tx.abort();
    await peer.publish({ destination, body: 'later' });
    assert.deepEqual(await bodies(messages, 1), ['later']);
  });

  testEach(`bytes to ${kind} are held unchanged`, broker, {}, async ({ connect }) => {
    const destination = unique(kind);
    const peer = await connect();
    const { messages } = await peer.subscribe(destination);
    const tx = peer.client.begin();
    await peer.publish({ destination, binaryBody: EVERY_BYTE, headers: { transaction: tx.id } });
    tx.commit();
    assert.deepEqual(Uint8Array.from((await messages.next()).binaryBody), EVERY_BYTE);
  });

  testEach(`a transaction is lost with its connection, on ${kind}`, broker, {}, async ({ connect }) => {
    const destination = unique(kind);
    const { queue, consumer } = await holding(connect, ['held'], { ack: 'client' });
    const other = await connect();
    const { messages } = await other.subscribe(destination);
    const tx = consumer.client.begin();
    await consumer.publish({ destination, body: 'never', headers: { transaction: tx.id } });
    await consumer.cut();
    assert.deepEqual(await left(connect, queue, 1), ['held again'], 'the broker has noticed');
    await other.publish({ destination, body: 'later' });
    assert.deepEqual(await bodies(messages, 1), ['later']);
  });

  testEach(`DISCONNECT aborts, on ${kind}`, broker, {}, async ({ connect }) => {
    const destination = unique(kind);
    const [peer, other] = [await connect(), await connect()];
    const { messages } = await other.subscribe(destination);
    const tx = peer.client.begin();
    await peer.publish({ destination, body: 'never', headers: { transaction: tx.id } });
    await peer.client.deactivate();
    await other.publish({ destination, body: 'later' });
    assert.deepEqual(await bodies(messages, 1), ['later']);
  });

  for (const ack of ACK_MODES) {
    testEach(`${ack}: what a transaction holds of ${kind} takes no credit`, broker, {}, async ({ connect }) => {
      const destination = unique(kind);
      const peer = await connect();
      const { messages } = await peer.subscribe(destination, { ack, 'prefetch-count': '1' });
      await peer.publishAll(destination, ['1', '2', '3', '4']);
      const tx = peer.client.begin();
      await peer.ack(await messages.next(), { transaction: tx.id });
      assert.deepEqual(await bodies(messages, 1), ['2']);
      tx.abort();
      await peer.settled();
      assert.equal(messages.length, 0, 'two are not settled, which is more than it may have');
    });
  }
}

/** A client that holds these messages of a queue, and has begun a transaction. */
async function working(connect, sent, ack = 'client-individual') {
  const { queue, consumer: peer, subscription, held } = await holding(connect, sent, { ack });
  const tx = peer.client.begin();
  return { queue, peer, messages: subscription.messages, held, tx, transaction: { transaction: tx.id } };
}

/** Returns the messages that return to its queue once it is cut. */
async function returned(connect, { queue, peer }, count) {
  await peer.cut();
  return left(connect, queue, count);
}

testEach('ACK and SEND: COMMIT applies both', broker, {}, async ({ connect }) => {
  const work = await working(connect, ['1', '2', '3']);
  const results = unique('/queue/');
  const other = await connect();
  const { messages } = await other.subscribe(results);
  await work.peer.ack(work.held[1], work.transaction);
  await work.peer.publish({ destination: results, body: 'result', headers: work.transaction });
  await other.settled();
  assert.equal(messages.length, 0);
  work.tx.commit();
  assert.deepEqual(await bodies(messages, 1), ['result']);
  assert.deepEqual(await returned(connect, work, 2), ['1 again', '3 again']);
});

testEach('ACK and SEND: ABORT applies neither', broker, {}, async ({ connect }) => {
  const work = await working(connect, ['1', '2']);
  const results = unique('/queue/');
  await work.peer.ack(work.held[0], work.transaction);
  await work.peer.publish({ destination: results, body: 'result', headers: work.transaction });
  work.tx.abort();
  await work.peer.settled();
  assert.equal(work.messages.length, 0, 'it is unacknowledged again, not delivered again');
  await work.peer.ack(work.held[1]);
  assert.deepEqual(await returned(connect, work, 1), ['1 again']);
  assert.deepEqual(await left(connect, results, 0), []);
});

for (const ack of ACK_MODES) {
  testEach(`${ack}: after ABORT a message can be acknowledged again`, broker, {}, async ({ connect }) => {
    const work = await working(connect, ['1', '2'], ack);
    await work.peer.ack(work.held[0], work.transaction);
    work.tx.abort();
    await work.peer.ack(work.held[0]);
    assert.deepEqual(await returned(connect, work, 1), ['2 again']);
  });

  testEach(`${ack}: an ACK of an open transaction is lost with the connection`, broker, {}, async ({ connect }) => {
    const work = await working(connect, ['1', '2'], ack);
    await work.peer.ack(work.held[0], work.transaction);
    assert.deepEqual(await returned(connect, work, 2), ['1 again', '2 again']);
  });

  testEach(`${ack}: an ACK for a message held by a transaction is ignored`, broker, {}, async ({ connect }) => {
    const work = await working(connect, ['1'], ack);
    await work.peer.ack(work.held[0], work.transaction);
    await work.peer.ack(work.held[0]);
    work.tx.abort();
    await work.peer.settled();
    assert.deepEqual(await returned(connect, work, 1), ['1 again']);
  });

  testEach(`${ack}: a NACK in an aborted transaction has no effect`, broker, WITH_NACK, async ({ connect }) => {
    const work = await working(connect, ['1', '2'], ack);
    await work.peer.nack(work.held[1], { ...work.transaction, requeue: 'false' });
    work.tx.abort();
    await work.peer.settled();
    assert.equal(work.messages.length, 0);
    assert.deepEqual(await returned(connect, work, 2), ['1 again', '2 again']);
  });
}

testEach('client: an ACK in a transaction covers all messages up to it', broker, {}, async ({ connect }) => {
  const work = await working(connect, ['1', '2', '3'], 'client');
  await work.peer.ack(work.held[1], work.transaction);
  work.tx.commit();
  await work.peer.settled();
  assert.deepEqual(await returned(connect, work, 1), ['3 again']);
});

testEach('a NACK in a transaction waits for COMMIT', broker, WITH_NACK, async ({ connect }) => {
  const work = await working(connect, ['1', '2', '3']);
  await work.peer.nack(work.held[0], work.transaction);
  await work.peer.nack(work.held[1], { ...work.transaction, requeue: 'false' });
  await work.peer.settled();
  assert.equal(work.messages.length, 0);
  work.tx.commit();
  assert.deepEqual(await bodies(work.messages, 1), ['1 again']);
  assert.deepEqual(await returned(connect, work, 2), ['1 again', '3 again']);
});

testEach('transactions of one client are separate, and their ids free afterwards', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const peer = await connect();
  const { messages } = await peer.subscribe(destination);
  const send = (tx, body) => peer.client.publish({ destination, body, headers: { transaction: tx.id } });
  const [one, two] = [peer.client.begin('one'), peer.client.begin()];
  assert.equal(one.id, 'one');
  for (const [tx, body] of [[one, 'a'], [two, 'never'], [one, 'b']]) send(tx, body);
  one.commit();
  const again = peer.client.begin('one');
  send(again, 'c');
  two.abort();
  again.commit();
  assert.deepEqual(await bodies(messages, 3), ['a', 'b', 'c']);
  await peer.settled();
  assert.equal(messages.length, 0);
});

testEach('transactions of two clients may have the same name', broker, {}, async ({ connect }) => {
  const destination = unique('/queue/');
  const [one, two] = [await connect(), await connect()];
  const { messages } = await one.subscribe(destination);
  const mine = one.client.begin('same');
  const its = two.client.begin('same');
  await one.publish({ destination, body: 'mine', headers: { transaction: 'same' } });
  await two.publish({ destination, body: 'its', headers: { transaction: 'same' } });
  mine.abort();
  its.commit();
  assert.deepEqual(await bodies(messages, 1), ['its']);
});
