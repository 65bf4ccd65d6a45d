// The same with unmodified nginx and broker: three idle minutes, longer than the 60 s of both.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { pass } from '../../clients/node/support/time.js';
import { allBlocks } from '../support/blocks.js';
import { Broker } from '../support/broker.js';
import { idleClient, isAlive, Nginx } from '../support/nginx.js';

test('an idle client stays connected for three minutes', { timeout: 300_000 }, async (t) => {
  const { code } = allBlocks().find(({ name }) => name === 'nginx');
  const { url } = await Nginx.start(t, code, await Broker.forTest(t));
  const client = await idleClient(t, url);
  await Promise.race([pass(180_000), client.closed]);
  await isAlive(client);
  assert.ok(client.pings >= 6, `${client.pings} Pings`);
  t.diagnostic(`${client.pings} Pings in three minutes`);
});
