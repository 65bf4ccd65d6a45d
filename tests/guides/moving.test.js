// Checks the claims of docs/moving.md: what is the same, what has no effect, what is refused.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';

import { Inbox, limit } from '../clients/node/support/time.js';
import { Broker } from './support/broker.js';

const PATIENCE = 30_000;
const cleanups = [];
let broker;

before(async () => {
  broker = await Broker.forTest({ after: (cleanup) => cleanups.push(cleanup) }, { STOMPD__QUEUE__METRICS: 'true' });
});

after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

const ANOTHER_SPELLING = {
  '/exchange/amq.topic/rabbit.key': '/topic/rabbit.key',
  '/amq/queue/rabbit': '/queue/rabbit',
};

for (const [theirs, ours] of Object.entries(ANOTHER_SPELLING)) {
  test(`${theirs} is ${ours}`, async (t) => {
    const peer = await connect(t);
    const messages = await peer.subscribe(theirs);
    peer.client.publish({ destination: ours, body: 'it is' });
    assert.equal((await messages.next(PATIENCE)).headers.destination, ours);
  });
}

const PLAIN_TEXT = [
  ['/queue/a,/queue/b', '/queue/a'],
  ['/queue/address::queue', '/queue/address'],
  ['/topic/a%2Fb', '/topic/a/b'],
  ['/topic/a/b', '/topic/a.b'],
  ['/topic/a?', '/topic/ab'],
  ['/topic/{name}', '/topic/ab'],
  ['/topic/a*', '/topic/ab'],
  ['/app/hello', '/app/other'],
];

for (const [name, other] of PLAIN_TEXT) {
  test(`${name} is a name and does not mean ${other}`, async (t) => {
    const peer = await connect(t);
    const messages = await peer.subscribe(name);
    peer.client.publish({ destination: other, body: 'other' });
    peer.client.publish({ destination: name, body: 'this' });
    assert.equal((await messages.next(PATIENCE)).body, 'this');
  });
}

const REFUSED = [
  '/temp-queue/x',
  '/temp-topic/x',
  '/reply-queue/x',
  '/exchange/direct/x',
  '/user/queue/x',
  '/queue/a.*',
  '/queue/a.>',
];

for (const destination of REFUSED) {
  test(`SUBSCRIBE ${destination} is refused by an ERROR that closes`, async (t) => {
    const peer = await connect(t);
    peer.client.subscribe(destination, () => {});
    await peer.errors.next(PATIENCE);
    await peer.closes.next(PATIENCE);
  });
}

test('any other destination is a topic: each subscriber gets a copy', async (t) => {
  const peer = await connect(t);
  const inboxes = [await peer.subscribe('orders'), await peer.subscribe('orders')];
  peer.client.publish({ destination: 'orders', body: 'two pizzas', headers: { 'destination-type': 'ANYCAST' } });
  for (const messages of inboxes) assert.equal((await messages.next(PATIENCE)).body, 'two pizzas');
});

test('headers of a SEND without effect are passed on', async (t) => {
  const peer = await connect(t);
  const headers = {
    AMQ_SCHEDULED_DELAY: '60000',
    JMSXGroupID: 'a',
    'correlation-id': '7',
    expiration: '1',
    expires: '1',
    persistent: 'true',
    priority: '9',
    'reply-to': '/topic/replies.7f3a',
    transformation: 'jms-map-json',
    type: 'order',
  };
  peer.client.publish({ destination: '/queue/headers', body: 'now', headers });
  const messages = await peer.subscribe('/queue/headers');
  const { headers: received } = await messages.next(PATIENCE);
  assert.deepEqual(Object.fromEntries(Object.keys(headers).map((name) => [name, received[name]])), headers);
  assert.ok(!('timestamp' in received) && !('JMSXUserID' in received));
});

for (const [header, value] of [['selector', "colour = 'red'"], ['browser', 'true']]) {
  test(`SUBSCRIBE with ${header} is refused by an ERROR`, async (t) => {
    const peer = await connect(t);
    peer.client.subscribe('/queue/browsed', () => {}, { [header]: value });
    assert.match((await peer.errors.next(PATIENCE)).headers.message, /is not supported yet/);
  });
}

test('headers of a CONNECT and a SUBSCRIBE without effect are ignored, even where they matter elsewhere', async (t) => {
  const connectHeaders = { login: 'anna', passcode: 'wrong', host: 'any', 'client-id': 'c' };
  const peer = await connect(t, { connectHeaders });
  assert.equal(peer.connected.headers['user-name'], 'anna');
  const messages = await peer.subscribe('/queue/browsed', {
    'activemq.exclusive': 'true',
    'activemq.subscriptionName': 's',
    'consumer-window-size': '0',
    durable: 'true',
    'x-message-ttl': '1',
  });
  peer.client.publish({ destination: '/queue/browsed', body: 'blue', headers: { colour: 'blue' } });
  assert.equal((await messages.next(PATIENCE)).body, 'blue');
  await broker.reaches('stompd_each_queue_messages_ready{queue="/queue/browsed"}', 0);
});

test('NACK returns a message, and discards it with requeue:false', async (t) => {
  const peer = await connect(t);
  const messages = await peer.subscribe('/queue/nacked', { ack: 'client-individual' });
  peer.client.publish({ destination: '/queue/nacked', body: 'not now' });
  (await messages.next(PATIENCE)).nack();
  const again = await messages.next(PATIENCE);
  assert.equal(again.headers.redelivered, 'true');
  again.nack({ requeue: 'false' });
  await broker.reaches('stompd_messages_rejected_total', 1);
});

for (const header of ['prefetch-count', 'activemq.prefetchSize']) {
  test(`${header} counts messages`, async (t) => {
    const [peer, other] = [await connect(t), await connect(t)];
    const destination = `/queue/${header}`;
    const first = await peer.subscribe(destination, { ack: 'client-individual', [header]: '1' });
    for (const body of ['1', '2']) peer.client.publish({ destination, body });
    assert.equal((await first.next(PATIENCE)).body, '1');
    assert.equal((await (await other.subscribe(destination)).next(PATIENCE)).body, '2');
  });
}

test('ack:client covers earlier messages of its own subscription only', async (t) => {
  const peer = await connect(t);
  const [one, two] = [
    await peer.subscribe('/queue/cumulative.1', { ack: 'client' }),
    await peer.subscribe('/queue/cumulative.2', { ack: 'client' }),
  ];
  peer.client.publish({ destination: '/queue/cumulative.1', body: 'stays' });
  await one.next(PATIENCE);
  peer.client.publish({ destination: '/queue/cumulative.2', body: 'goes' });
  (await two.next(PATIENCE)).ack();
  await peer.client.deactivate();

  const again = await (await connect(t)).subscribe('/queue/cumulative.1');
  const { body, headers } = await again.next(PATIENCE);
  assert.deepEqual([body, headers.redelivered], ['stays', 'true']);
});

/** A client that ends with the test. */
async function connect(t, options = {}) {
  const [connects, errors, closes] = ['CONNECTED', 'ERROR', 'the WebSocket closes'].map((what) => new Inbox(what));
  const client = new Client({
    reconnectDelay: 0,
    webSocketFactory: () => new WebSocket(broker.url, ['v12.stomp']),
    onConnect: (frame) => connects.push(frame),
    onStompError: (frame) => errors.push(frame),
    onWebSocketClose: (event) => closes.push(event),
    ...options,
  });
  t.after(() => client.deactivate({ force: true }));
  client.activate();
  const connected = await connects.next(PATIENCE);
  return { client, connected, errors, closes, subscribe: (...what) => subscribe(client, ...what) };
}

let receipts = 0;

/** Returns once the broker has the subscription. */
async function subscribe(client, destination, headers = {}) {
  const messages = new Inbox(`a MESSAGE on ${destination}`);
  const receipt = `subscribe-${++receipts}`;
  const arrival = new Promise((resolve) => client.watchForReceipt(receipt, resolve));
  client.subscribe(destination, (message) => messages.push(message), { ...headers, receipt });
  await limit(arrival, `RECEIPT of SUBSCRIBE ${destination}`, PATIENCE);
  return messages;
}
