// The demo page as a visitor uses it.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { DemoBroker } from './support/broker.js';
import { browse, demo, eventually } from './support/stage.js';

const EXCHANGE = 'This tab is the exchange';

const broker = await DemoBroker.start();
after(() => broker.stop());
const deaf = await DemoBroker.start({ STOMPD__LISTEN__WEBSOCKET: '' });
after(() => deaf.stop());
const browser = await browse();

/** The commands of frames, with their direction. */
const commands = (tab, selector) =>
  tab.page.locator(selector).evaluateAll((rows) =>
    rows.map((row) => `${row.classList.contains('out') ? '↑' : '↓'} ${row.querySelector('.command').textContent}`),
  );

demo('both tabs show a message, and the sender its receipt', browser, broker, async ({ open }) => {
  const [one, other] = [await open(), await open()];
  await one.say('Hello <b>there</b>');
  for (const tab of [one, other]) assert.equal(await tab.shows('.said', 'Hello'), 'Hello <b>there</b>');
  await one.shows('.mine .tick', '✓');
  await other.say('Good day');
  for (const tab of [one, other]) await tab.shows('.said', 'Good day');
  assert.deepEqual(await other.texts('.said'), ['Hello <b>there</b>', 'Good day']);
});

demo('a clicked message shows its frames', browser, broker, async ({ open }) => {
  const [one, other] = [await open(), await open()];
  await one.say('look: at\\me');
  await one.shows('.mine .tick', '✓');
  await one.click('.bubble');
  assert.deepEqual(await commands(one, '#frames .lit'), ['↑ SEND', '↓ MESSAGE', '↓ RECEIPT']);
  for (const text of await one.texts('#frames .lit pre')) assert.match(text, /NUL$/);
  assert.match((await one.texts('#story'))[0], /became this MESSAGE/);

  await other.shows('.theirs .said', 'look');
  await other.click('.bubble');
  assert.deepEqual(await commands(other, '#frames .lit'), ['↓ MESSAGE']);
  await other.page.keyboard.press('Escape');
  assert.equal(await other.count('#frames .lit'), 0);
});

demo('headers are shown as they are on the wire', browser, broker, async ({ open }) => {
  const tab = await open();
  await tab.page.locator('#name').fill('A:B');
  await tab.page.locator('#name').press('Enter');
  await tab.say('x');
  await tab.shows('.who', 'A:B (you)');
  await tab.shows('#frames pre', 'from:A\\cB\n');
});

demo('the wire begins with the handshake, and shows heart-beats', browser, broker, async ({ open }) => {
  const tab = await open();
  await tab.click('label:has([value=connection])');
  await tab.shows('#frames .beat', 'heart-beat');
  await tab.shows('#frames .note', 'subprotocol v12.stomp');
  assert.deepEqual((await commands(tab, '#frames .frame')).slice(0, 2), ['↑ CONNECT', '↓ CONNECTED']);
});

demo('every tab shows prices, one generates them, and another takes over', browser, broker, async ({ open }) => {
  const [one, other] = [await open(), await open()];
  await one.shows('#role', 'is the exchange');
  await eventually('exactly one of them is the exchange', async () => {
    const roles = [...(await one.texts('#role')), ...(await other.texts('#role'))];
    return roles.filter((role) => role === EXCHANGE).length === 1 && roles.every((role) => role.endsWith('is the exchange'));
  });
  const first = (await one.texts('#role'))[0] === EXCHANGE ? one : other;
  const second = first === one ? other : one;
  await moves(second);

  await second.click('#hand');
  await second.shows('#role', EXCHANGE);
  await first.shows('#role', '’s tab is the exchange');
  await second.click('#hand');
  await first.shows('#role', EXCHANGE);
  await first.page.close();
  await second.shows('#role', EXCHANGE);
  await moves(second);
});

async function moves(tab) {
  await tab.front();
  const before = await tab.texts('.price');
  await eventually('a price moves', async () => `${await tab.texts('.price')}` !== `${before}`);
}

demo('fifty prices a second: the wire is bounded, filtered, stopped and cleared', browser, broker, async ({ open }) => {
  const tab = await open();
  await tab.shows('#role', EXCHANGE);
  await tab.page.locator('#rate').fill('50');
  await tab.page.locator('#rate').dispatchEvent('change');
  await tab.say('still there');
  await tab.page.locator('#frames li').nth(179).waitFor();
  const prices = tab.page.locator('#frames summary', { hasText: /prices\.[A-Z]/ });
  const oldest = () => prices.first().locator('time').textContent();
  const first = await oldest();
  await eventually('the oldest price goes', async () => (await oldest()) !== first);
  const frames = await tab.count('#frames li');
  assert.ok(frames >= 180 && frames <= 500, `${frames} frames`);
  await tab.shows('#frames .body', 'still there');

  await tab.page.locator('#command').selectOption('SUBSCRIBE');
  await eventually('only SUBSCRIBE frames', async () => {
    return new Set(await tab.texts('#frames .command')).size === 1 && (await tab.count('#frames li')) === 5;
  });
  await tab.page.locator('#command').selectOption('all');
  await tab.click('label:has([value=prices])');
  await eventually('only prices', async () => (await tab.count('#frames li')) > 9 && !(await tab.texts('#frames .note')).length);
  await tab.click('#pause');
  await tab.page.locator('#pause', { hasText: 'Go on' }).waitFor();
  const last = (await tab.texts('#frames time')).at(-1);
  await moves(tab);
  assert.equal((await tab.texts('#frames time')).at(-1), last);
  await tab.click('#pause');
  await eventually('it goes on', async () => (await tab.texts('#frames time')).at(-1) !== last);

  await tab.click('label:has([value=chat])');
  await tab.shows('#frames .body', 'still there');
  await tab.click('#clear');
  await eventually('nothing is left', async () => (await tab.count('#frames li')) === 0);
});

demo('a job goes to one tab, and to another when that tab closes', browser, broker, async ({ open }) => {
  const [one, other] = [await open(), await open()];
  for (const tab of [one, other]) {
    await tab.front();
    await tab.page.locator('#auto').uncheck();
  }
  await one.click('#add');
  const taken = async () => [await one.count('#job .link'), await other.count('#job .link')];
  await eventually('one has it', async () => (await taken()).includes(1));
  assert.deepEqual((await taken()).sort(), [0, 1]);
  const [holder, next] = (await one.count('#job .link')) ? [one, other] : [other, one];
  await holder.page.close();
  await next.shows('#job .again', 'redelivered');
  await next.click('#done');
  await next.shows('#workers .count', '1');
  await next.shows('#job', 'Nothing to do');
  await next.click('label:has([value=jobs])');
  await eventually('it was acknowledged', async () => (await commands(next, '#frames .frame')).includes('↑ ACK'));
});

demo('a returned job is redelivered, marked', browser, broker, async ({ open }) => {
  const tab = await open();
  await tab.page.locator('#auto').uncheck();
  await tab.click('#add');
  await tab.shows('#job .link', '1');
  await tab.click('#back');
  await tab.shows('#job .again', 'redelivered');
  await tab.page.locator('#auto').check();
  await tab.shows('#workers .count', '1');
});

/** Another client, which does not use the page's headers. */
function publish(tab, destination, body) {
  return tab.page.evaluate(async ({ destination, body }) => {
    const { port, path } = await (await fetch('settings.json')).json();
    const client = new window.StompJs.Client({ brokerURL: `ws://${location.hostname}:${port}${path}` });
    await new Promise((resolve) => {
      client.onConnect = resolve;
      client.activate();
    });
    client.publish({ destination, body });
    await client.deactivate();
  }, { destination, body });
}

demo('jobs and results of other clients are accepted too', browser, broker, async ({ open }) => {
  const tab = await open();
  await publish(tab, '/topic/demo.results', 'Feed the cat');
  await tab.shows('#workers .worker', 'somebody');
  await publish(tab, '/queue/demo.jobs', 'Feed the dog');
  await eventually('this tab has done it', async () => (await tab.count('#workers .worker')) === 2);
});

demo('any text can be a room', browser, broker, async ({ open }) => {
  const tab = await open();
  await tab.page.locator('#room').fill('Room 50%');
  await tab.page.locator('#room').press('Enter');
  await tab.shows('.topic', '/topic/demo.chat.room50');
});

demo('on a narrow screen each part fills the screen', browser, broker, async ({ open }) => {
  const tab = await open({ width: 390, height: 844 });
  for (const part of ['prices', 'jobs', 'wire', 'chat']) {
    await tab.click(`[data-view=${part}]:not(body)`);
    for (const other of ['chat', 'prices', 'jobs', 'wire']) {
      assert.equal(await tab.page.locator(`#${other}`).isVisible(), other === part, `${other} beside ${part}`);
    }
    assert.ok(await tab.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${part} fits`);
  }
  await tab.say('from a phone');
  await tab.shows('.mine .tick', '✓');
  await tab.click('.bubble');
  assert.deepEqual(await commands(tab, '#frames .lit:visible'), ['↑ SEND', '↓ MESSAGE', '↓ RECEIPT']);
});

demo('it reports when STOMP over WebSocket is off', browser, deaf, async ({ open }) => {
  const tab = await open({ connected: false });
  await tab.page.locator('#off').waitFor();
  assert.deepEqual(await tab.texts('#state'), ['Off']);
});
