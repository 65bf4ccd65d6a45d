// Which subscriptions get which messages.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { Broker } from './support/broker.js';
import { testEach, unique } from './support/client.js';
import { retry } from './support/time.js';

const broker = await Broker.start();
after(() => broker.stop());

// Pattern, what it matches, what it does not; `T` stands for the test's own first segment.
const PATTERNS = [
  ['T', ['T'], ['T.x', 'T/x']],
  ['T.prices.*', ['T.prices.eur', 'T.prices.'], ['T.prices', 'T.prices.eur.usd', 'T.prices/eur']],
  ['T.*.eur', ['T.prices.eur'], ['T.eur', 'T.prices.usd', 'T.a.b.eur']],
  ['T/chat/#', ['T/chat', 'T/chat/a', 'T/chat/a/b', 'T/chat/a.b'], ['T/chatter', 'T/news/a', 'T.chat.a']],
  ['T.#.end', ['T.end', 'T.a.end', 'T.a.b.end'], ['T.a', 'T.ending']],
  ['T.a.>', ['T.a', 'T.a.b', 'T.a.b.c'], ['T.b', 'T.a/b', 'T.ab']],
  ['T.**', ['T', 'T.a', 'T.a.b/c'], ['T/a']],
  ['T.C#', ['T.C#'], ['T.C', 'T.Cx']],
];

for (const [pattern, seen, unseen] of PATTERNS) {
  testEach(`${pattern} matches ${seen.join(' ')}`, broker, {}, async ({ connect }) => {
    const own = unique();
    const named = (names) => names.map((name) => name.replace(/^T/, own));
    const peer = await connect();
    const { messages } = await peer.subscribe(pattern.replace(/^T/, own));
    // Messages that must not match are sent first: they would arrive first.
    for (const destination of named([...unseen, ...seen])) peer.client.publish({ destination, body: 'x' });
    const got = (await messages.take(seen.length)).map((message) => message.headers.destination);
    assert.deepEqual(got, named(seen));
    assert.equal(messages.length, 0);
  });
}

testEach('each of two overlapping subscriptions gets a copy', broker, {}, async ({ connect }) => {
  const own = unique();
  const peer = await connect();
  const [exact, wide] = [await peer.subscribe(`${own}.a`), await peer.subscribe(`${own}.*`)];
  await peer.publish({ destination: `${own}.a`, body: 'x' });
  assert.equal((await exact.messages.next()).headers.subscription, exact.id);
  assert.equal((await wide.messages.next()).headers.subscription, wide.id);
  assert.equal(exact.messages.length + wide.messages.length, 0);
});

testEach('after UNSUBSCRIBE nothing arrives, and its id can be reused', broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  const [ended, kept] = [await peer.subscribe(destination, { id: 'one' }), await peer.subscribe(destination)];
  await ended.unsubscribe();
  await peer.publish({ destination, body: 'first' });
  await kept.messages.next();
  const again = await peer.subscribe(destination, { id: 'one' });
  await peer.publish({ destination, body: 'second' });
  assert.equal((await again.messages.next()).body, 'second');
  assert.equal(ended.messages.length, 0);
});

testEach('the publisher gets its own messages, unless it set no-local', broker, {}, async ({ connect }) => {
  const destination = unique();
  const [peer, other] = [await connect(), await connect()];
  const [plain, deaf] = [await peer.subscribe(destination), await peer.subscribe(destination, { 'no-local': 'true' })];
  await peer.publish({ destination, body: 'own' });
  await other.publish({ destination, body: 'foreign' });
  assert.deepEqual((await plain.messages.take(2)).map((message) => message.body), ['own', 'foreign']);
  assert.equal((await deaf.messages.next()).body, 'foreign');
});

testEach("SUBSCRIBE's RECEIPT comes before its first MESSAGE", broker, {}, async ({ connect }) => {
  const destination = unique();
  const [subscriber, publisher] = [await connect(), await connect()];
  let flooding = true;
  const flood = (async () => {
    while (flooding) await publisher.publish({ destination, body: 'x' });
  })();
  try {
    for (let round = 1; round <= 20; round++) {
      const receipt = `round-${round}`;
      const happened = [];
      subscriber.client.watchForReceipt(receipt, () => happened.push('RECEIPT'));
      subscriber.client.subscribe(destination, () => happened.push('MESSAGE'), { id: receipt, receipt });
      await retry('RECEIPT and MESSAGE', () => new Set(happened).size === 2);
      assert.equal(happened[0], 'RECEIPT', receipt);
      subscriber.client.unsubscribe(receipt);
    }
  } finally {
    flooding = false;
    await flood;
  }
});

testEach('RECEIPTs come in the order of their frames', broker, {}, async ({ connect }) => {
  const destination = unique();
  const peer = await connect();
  const receipts = Array.from({ length: 100 }, (_, n) => `r${n}`);
  const order = [];
  for (const receipt of receipts) {
    peer.client.watchForReceipt(receipt, () => order.push(receipt));
    peer.client.publish({ destination, body: 'x', headers: { receipt } });
  }
  await retry('all RECEIPTs', () => order.length === receipts.length);
  assert.deepEqual(order, receipts);
});
