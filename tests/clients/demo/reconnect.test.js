// What the page shows when the broker stops.

import { test } from 'node:test';

import { DemoBroker } from './support/broker.js';
import { browse, Tab } from './support/stage.js';

const broker = await DemoBroker.start();
const browser = await browse();

test('it reports reconnecting, and finally that nothing answers', { timeout: 180_000 }, async () => {
  const tab = new Tab(await browser.tab());
  await tab.page.goto(broker.page('leaving'));
  await tab.shows('#state', 'Connected');
  await broker.stop();
  await tab.shows('#state', 'Reconnecting in');
  await tab.shows('#frames .note', 'WebSocket closed: 1001');
  await tab.shows('#notice', 'Nobody answers at ws://127.0.0.1:');
  await tab.page.close();
});
