// ACK, NACK and returned messages.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { bodies, testEach, unique } from './support/client.js';
import { ACK_MODES, holding, left, WITH_NACK } from './support/queues.js';

const broker = await Broker.start();
after(() => broker.stop());

testEach('client: an ACK covers all messages up to it', broker, {}, async ({ connect }) => {
  const { queue, consumer, held } = await holding(connect, ['1', '2', '3', '4', '5'], { ack: 'client' });
  await consumer.ack(held[2]);
  await consumer.cut();
  assert.deepEqual(await left(connect, queue, 2), ['4 again', '5 again']);
});

testEach('client-individual: an ACK covers one message', broker, {}, async ({ connect }) => {
  const { queue, consumer, held } = await holding(connect, ['1', '2', '3', '4'], { ack: 'client-individual' });
  await consumer.ack(held[2]);
  await consumer.ack(held[0]);
  await consumer.cut();
  assert.deepEqual(await left(connect, queue, 2), ['2 again', '4 again']);
});

testEach('client: subscriptions are separate', broker, {}, async ({ connect }) => {
  const { queue, consumer } = await holding(connect, ['1', '2'], { ack: 'client' });
  const other = unique('/queue/');
  await consumer.publish({ destination: other, body: 'x' });
  await consumer.ack(await (await consumer.subscribe(other, { ack: 'client' })).messages.next());
  await consumer.cut();
  assert.deepEqual(await left(connect, queue, 2), ['1 again', '2 again']);
});

for (const kind of ['/queue/', '/topic/']) {
  testEach(`auto on ${kind}: ack() is ignored`, broker, {}, async ({ connect }) => {
    const destination = unique(kind);
    const [consumer, publisher] = [await connect(), await connect()];
    const { messages } = await consumer.subscribe(destination);
    for (const body of ['1', '2', '3']) {
      await publisher.publish({ destination, body });
      const message = await messages.next();
      assert.equal(message.body, body);
      message.ack();
      message.ack();
    }
    await consumer.settled();
    assert.equal(consumer.errors.length, 0);
  });
}

testEach('auto: written messages do not return', broker, {}, async ({ connect }) => {
  const queue = unique('/queue/');
  const consumer = await connect();
  const holder = await consumer.subscribe(queue, { ack: 'client', 'prefetch-count': '1' });
  const auto = await consumer.subscribe(queue);
  await consumer.publishAll(queue, ['1', '2', '3']);
  await holder.messages.next();
  await auto.messages.take(2);
  await consumer.cut();
  // The returned message proves that the broker has noticed.
  assert.deepEqual(await left(connect, queue, 1), ['1 again']);
});

for (const ack of ACK_MODES) {
  testEach(`${ack}: messages of a lost connection go to others in order`, broker, {}, async ({ connect }) => {
    const { queue, consumer } = await holding(connect, ['1', '2', '3'], { ack });
    const other = await connect();
    const { messages } = await other.subscribe(queue, { ack });
    await consumer.cut();
    assert.deepEqual(await bodies(messages, 3), ['1 again', '2 again', '3 again']);
    await other.cut();
    assert.deepEqual(await left(connect, queue, 3), ['1 again', '2 again', '3 again']);
  });

  testEach(`${ack}: unacknowledged messages return after DISCONNECT`, broker, {}, async ({ connect }) => {
    const { queue, consumer } = await holding(connect, ['1', '2'], { ack });
    await consumer.client.deactivate();
    assert.deepEqual(await left(connect, queue, 2), ['1 again', '2 again']);
  });

  testEach(`${ack}: a repeated ACK is ignored`, broker, {}, async ({ connect, version }) => {
    const { queue, consumer, held } = await holding(connect, ['1', '2'], { ack });
    await consumer.ack(held[0]);
    await consumer.ack(held[0]);
    if (version !== '1.0') await consumer.nack(held[0]);
    await consumer.cut();
    assert.deepEqual(await left(connect, queue, 1), ['2 again']);
  });

  testEach(`${ack}: an ACK of another's message has no effect`, broker, {}, async ({ connect }) => {
    const { queue, consumer, held } = await holding(connect, ['1'], { ack });
    const [{ headers }] = held;
    const stranger = await connect();
    stranger.client.ack(headers.ack ?? headers['message-id'], headers.subscription);
    await stranger.settled();
    await consumer.cut();
    assert.deepEqual(await left(connect, queue, 1), ['1 again']);
  });

  testEach(`${ack}: messages can be acknowledged after UNSUBSCRIBE`, broker, {}, async ({ connect }) => {
    const { queue, consumer, subscription, held } = await holding(connect, ['1', '2', '3'], { ack });
    await subscription.unsubscribe();
    await consumer.ack(held[0]);
    const other = await connect();
    const { messages } = await other.subscribe(queue, { ack });
    await other.settled();
    assert.equal(messages.length, 0, 'the first one still has them');
    await consumer.cut();
    assert.deepEqual(await bodies(messages, 2), ['2 again', '3 again']);
  });

  const title = `${ack}: NACK in 1.0 is an ERROR, and the message returns`;
  testEach(title, broker, { versions: ['1.0'] }, async ({ connect }) => {
    const { queue, consumer, held } = await holding(connect, ['1'], { ack });
    held[0].nack();
    assert.match((await consumer.errors.next()).headers.message, /NACK/);
    await consumer.closes.next();
    assert.deepEqual(await left(connect, queue, 1), ['1 again']);
  });
}

testEach('client-individual: a NACK returns one message to its place', broker, WITH_NACK, async ({ connect }) => {
  const queue = unique('/queue/');
  const consumer = await connect();
  await consumer.publishAll(queue, ['1', '2', '3', '4', '5']);
  const { messages } = await consumer.subscribe(queue, { ack: 'client-individual', 'prefetch-count': '3' });
  const held = await messages.take(3);
  await consumer.nack(held[1]);
  const again = await messages.next();
  assert.equal(again.body, '2', 'before 4, which waits');
  assert.equal(again.headers.redelivered, 'true');
  assert.notEqual(again.headers['message-id'], held[1].headers['message-id'], 'with a new id');
  await consumer.ack(again);
  await consumer.ack(held[2]);
  assert.deepEqual(await bodies(messages, 2), ['4', '5']);
  await consumer.cut();
  assert.deepEqual(await left(connect, queue, 3), ['1 again', '4 again', '5 again']);
});

testEach('client: a NACK returns all messages up to it', broker, WITH_NACK, async ({ connect }) => {
  const { consumer, subscription, held } = await holding(connect, ['1', '2', '3'], { ack: 'client' });
  await consumer.nack(held[1]);
  assert.deepEqual(await bodies(subscription.messages, 2), ['1 again', '2 again']);
  await consumer.settled();
  assert.equal(subscription.messages.length, 0, '3 is still held');
});

testEach('a NACK gives the message to the next consumer', broker, WITH_NACK, async ({ connect }) => {
  const queue = unique('/queue/');
  const [one, two] = [await connect(), await connect()];
  const ones = await one.subscribe(queue, { ack: 'client' });
  const twos = await two.subscribe(queue, { ack: 'client' });
  await one.publish({ destination: queue, body: '1' });
  await one.nack(await ones.messages.next());
  assert.deepEqual(await bodies(twos.messages, 1), ['1 again']);
  await one.settled();
  assert.equal(ones.messages.length, 0);
});

testEach('a NACK with requeue:false discards the message', broker, WITH_NACK, async ({ connect }) => {
  const { queue, consumer, held } = await holding(connect, ['1', '2', '3'], { ack: 'client-individual' });
  await consumer.nack(held[1], { requeue: 'false' });
  await consumer.cut();
  assert.deepEqual(await left(connect, queue, 2), ['1 again', '3 again']);
});

testEach('client: a NACK with requeue:false discards all messages up to it', broker, WITH_NACK, async ({ connect }) => {
  const { queue, consumer, held } = await holding(connect, ['1', '2', '3'], { ack: 'client' });
  await consumer.nack(held[1], { requeue: 'false' });
  await consumer.cut();
  assert.deepEqual(await left(connect, queue, 1), ['3 again']);
});

for (const prefetch of ['prefetch-count', 'activemq.prefetchSize']) {
  for (const kind of ['/queue/', '/topic/']) {
    testEach(`${prefetch} limits what comes from ${kind} before an ACK`, broker, {}, async ({ connect }) => {
      const destination = unique(kind);
      const peer = await connect();
      const { messages } = await peer.subscribe(destination, { ack: 'client-individual', [prefetch]: '2' });
      await peer.publishAll(destination, ['1', '2', '3', '4', '5']);
      const [one, two] = await messages.take(2);
      await peer.settled();
      assert.equal(messages.length, 0);
      await peer.ack(two);
      assert.deepEqual(await bodies(messages, 1), ['3']);
      await peer.settled();
      assert.equal(messages.length, 0);
      await peer.ack(one);
      assert.deepEqual(await bodies(messages, 1), ['4']);
    });

    testEach(`client: one ACK renews ${prefetch} on ${kind}`, broker, {}, async ({ connect }) => {
      const destination = unique(kind);
      const peer = await connect();
      const { messages } = await peer.subscribe(destination, { ack: 'client', [prefetch]: '3' });
      await peer.publishAll(destination, ['1', '2', '3', '4', '5', '6', '7']);
      const held = await messages.take(3);
      await peer.ack(held[2]);
      assert.deepEqual(await bodies(messages, 3), ['4', '5', '6']);
      await peer.settled();
      assert.equal(messages.length, 0);
    });
  }
}

for (const ack of ACK_MODES) {
  testEach(`${ack}: a consumer without credit is skipped`, broker, {}, async ({ connect }) => {
    const queue = unique('/queue/');
    const [lazy, keen] = [await connect(), await connect()];
    const headers = { ack, 'prefetch-count': '1' };
    const [lazys, keens] = [await lazy.subscribe(queue, headers), await keen.subscribe(queue, headers)];
    await lazy.publishAll(queue, ['1', '2', '3', '4']);
    assert.deepEqual(await bodies(lazys.messages, 1), ['1']);
    for (const body of ['2', '3', '4']) {
      const message = await keens.messages.next();
      assert.equal(message.body, body);
      await keen.ack(message);
    }
    await lazy.settled();
    assert.equal(lazys.messages.length, 0);
  });

  testEach(`${ack} on a topic: each subscription has its own copy and order`, broker, {}, async ({ connect }) => {
    const topic = unique();
    const [one, two] = [await connect(), await connect()];
    const headers = { ack, 'prefetch-count': '1' };
    const [exact, wide] = [await one.subscribe(topic, headers), await two.subscribe(`${topic}.#`, headers)];
    await one.publishAll(topic, ['1', '2', '3']);
    for (const body of ['1', '2', '3']) {
      const message = await exact.messages.next();
      assert.equal(message.body, body);
      assert.equal(message.headers.destination, topic);
      await one.ack(message);
    }
    const held = await wide.messages.next();
    await two.settled();
    assert.equal(wide.messages.length, 0);
    await two.ack(held);
    assert.deepEqual(await bodies(wide.messages, 1), ['2']);
  });

  testEach(`${ack} on a topic: a NACK returns it to its subscription`, broker, WITH_NACK, async ({ connect }) => {
    const topic = unique();
    const [one, two] = [await connect(), await connect()];
    const [ones, twos] = [await one.subscribe(topic, { ack }), await two.subscribe(topic, { ack })];
    await one.publishAll(topic, ['1', '2']);
    const [first] = await ones.messages.take(2);
    await one.nack(first);
    const again = await ones.messages.next();
    assert.equal(again.body, '1');
    assert.equal(again.headers.redelivered, 'true');
    await one.nack(again, { requeue: 'false' });
    await Promise.all([one.settled(), two.settled()]);
    assert.equal(ones.messages.length, 0);
    assert.deepEqual(await bodies(twos.messages, 2), ['1', '2']);
    assert.equal(twos.messages.length, 0);
  });
}
