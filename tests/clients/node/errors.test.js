// Refusals: an ERROR with the reason, then the end of the connection with a code.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { testEach, unique, VERSIONS } from './support/client.js';

const broker = await Broker.start();
after(() => broker.stop());

const nothing = () => {};
const NOTHING = 'undefined'; // the id in an ACK by stomp.js 7.1 for a message that needs none

// What a client does wrong, the close code, and the versions in which it is wrong.
const REFUSED = [
  ['a subscription id that is taken', 1002, VERSIONS, ({ client }, topic) => {
    client.subscribe(topic, nothing, { id: 'same' });
    client.subscribe(topic, nothing, { id: 'same' });
  }],
  ['a SEND to *', 1002, VERSIONS, ({ client }, topic) => client.publish({ destination: `${topic}.*` })],
  ['a SEND to #', 1002, VERSIONS, ({ client }, topic) => client.publish({ destination: `${topic}/#` })],
  ['a SEND to >', 1002, VERSIONS, ({ client }, topic) => client.publish({ destination: `${topic}.>` })],
  ['a wildcard as first segment', 1002, VERSIONS, ({ client }) => client.subscribe('/#', nothing)],
  ['an empty name', 1002, VERSIONS, ({ client }) => client.subscribe('/topic/', nothing)],
  ['a destination kind that is unknown', 1002, VERSIONS, ({ client }) => client.subscribe('/durable/x', nothing)],
  ['an unknown ack mode', 1002, VERSIONS, ({ client }, topic) => client.subscribe(topic, nothing, { ack: 'maybe' })],
  ['a wrong content-length', 1002, VERSIONS, ({ client }, topic) => {
    client.publish({ destination: topic, body: 'longer than that', headers: { 'content-length': '3' } });
  }],
  ['an undefined escape', 1002, ['1.2'], ({ socket }, topic) => {
    socket.send(`SEND\ndestination:${topic}\na:\\t\n\n\0`);
  }],
  ['an unknown command', 1002, VERSIONS, ({ socket }) => socket.send('SHOUT\n\n\0')],
  ['a second CONNECT', 1002, VERSIONS, ({ socket }) => socket.send('CONNECT\naccept-version:1.2\n\n\0')],
  ['a header without a colon', 1002, VERSIONS, ({ socket }) => socket.send('SEND\ndestination\n\n\0')],
  ['a SEND without a destination', 1002, VERSIONS, ({ socket }) => socket.send('SEND\n\nx\0')],
  ['a wildcard SUBSCRIBE to queues', 1002, VERSIONS, ({ client }) => client.subscribe('/queue/*', nothing)],
  ['a SEND to a wildcard of queues', 1002, VERSIONS, ({ client }) => client.publish({ destination: '/queue/#' })],
  ['a queue without a name', 1002, VERSIONS, ({ client }) => client.publish({ destination: '/queue/' })],
  ['a prefetch that is no number', 1002, VERSIONS, ({ client }) => {
    client.subscribe(unique('/queue/'), nothing, { 'prefetch-count': 'many' });
  }],
  ['NACK', 1002, ['1.0'], ({ client }) => client.nack(NOTHING, 'none')],
  ['an ACK of an invalid id', 1002, VERSIONS, ({ client }) => client.ack('7', 'none')],
  ['a NACK of an invalid id', 1002, ['1.2', '1.1'], ({ client }) => client.nack('7', 'none')],
  ['an ACK without an id', 1002, VERSIONS, ({ socket }) => socket.send('ACK\nsubscription:none\n\n\0')],
  ['an ACK of an undelivered message', 1002, VERSIONS, ({ client, connected }, topic) => {
    client.subscribe(topic, nothing, { id: 'one', ack: 'client' });
    client.ack(`${connected.headers.session}-1-1`, 'one');
  }],
  ['a BEGIN of an open transaction', 1002, VERSIONS, ({ client }) => {
    client.begin('same');
    client.begin('same');
  }],
  ['a COMMIT of no transaction', 1002, VERSIONS, ({ client }) => client.commit('none')],
  ['an ABORT of no transaction', 1002, VERSIONS, ({ client }) => client.abort('none')],
  ['a second COMMIT', 1002, VERSIONS, ({ client }) => {
    const transaction = client.begin();
    transaction.commit();
    transaction.commit();
  }],
  ['a SEND in no transaction', 1002, VERSIONS, ({ client }, topic) => {
    client.publish({ destination: topic, body: 'x', headers: { transaction: 'none' } });
  }],
  ['an ACK in no transaction', 1002, VERSIONS, ({ client }) => client.ack(NOTHING, 'none', { transaction: 'none' })],
  ['too many transactions', 1013, VERSIONS, ({ client }) => {
    for (let n = 0; n < 17; n++) client.begin();
  }],
  ['a header that is no UTF-8', 1007, VERSIONS, ({ socket }) => {
    socket.send(Buffer.from('SEND\na:\xff\n\n\0', 'latin1'));
  }],
  ['text that is no UTF-8', 1007, VERSIONS, ({ socket }) => {
    socket.send(Buffer.from('SEND\na:\xff\n\n\0', 'latin1'), { binary: false });
  }],
  ['a body without end', 1009, VERSIONS, ({ socket }, topic) => {
    socket.send(`SEND\ndestination:${topic}\n\n`);
    for (let n = 0; n < 12; n++) socket.send('x'.repeat(1 << 20));
  }],
];

for (const [what, code, versions, misbehave] of REFUSED) {
  testEach(`${what} is an ERROR and closes with ${code}`, broker, { versions }, async ({ connect }) => {
    const peer = await connect();
    misbehave(peer, unique());
    const { headers } = await peer.errors.next();
    assert.ok(headers.message, 'it says why');
    assert.equal((await peer.closes.next()).code, code, headers.message);
    assert.equal(peer.errors.length, 0, 'it says so once');
  });
}

testEach('ERROR has the receipt-id of the refused frame', broker, {}, async ({ connect }) => {
  const peer = await connect();
  peer.client.publish({ destination: `${unique()}.*`, body: 'x', headers: { receipt: 'mine' } });
  assert.equal((await peer.errors.next()).headers['receipt-id'], 'mine');
});

testEach('frames before the error count, later ones do not', broker, {}, async ({ connect }) => {
  const destination = unique();
  const [witness, culprit] = [await connect(), await connect()];
  const { messages } = await witness.subscribe(destination);
  culprit.client.publish({ destination, body: 'before' });
  culprit.client.publish({ destination: `${destination}.*`, body: 'wrong' });
  culprit.client.publish({ destination, body: 'after' });
  await culprit.closes.next();
  await witness.publish({ destination, body: 'later' });
  assert.deepEqual((await messages.take(2)).map((message) => message.body), ['before', 'later']);
});
