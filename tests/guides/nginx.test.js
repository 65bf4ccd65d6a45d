// nginx with the configuration of docs/proxies.md in front of a broker: real TLS, and a shortened read timeout.

import assert from 'node:assert/strict';

import { limit, pass } from '../clients/node/support/time.js';
import { testBlocks } from './support/blocks.js';
import { Broker } from './support/broker.js';
import { idleClient, isAlive, Nginx, statusFor } from './support/nginx.js';

const PING_EACH_SECOND = { STOMPD__HEART_BEAT__PING: '1s' };
const NO_PING = { STOMPD__HEART_BEAT__PING: '0s' };

testBlocks('nginx', {
  nginx: async ({ code }, t) => {
    await t.test('a page of the site gets through, a stranger does not', async (t) => {
      const { url } = await Nginx.start(t, code, await Broker.forTest(t));
      await isAlive(await idleClient(t, url));
      assert.equal(await statusFor(url, 'https://elsewhere.example'), 403);
    });

    const hasty = code.replace('proxy_http_version', 'proxy_read_timeout 3s;\n proxy_http_version');
    await t.test('Pings keep an idle client connected', async (t) => {
      const { url } = await Nginx.start(t, hasty, await Broker.forTest(t, PING_EACH_SECOND));
      const client = await idleClient(t, url);
      await Promise.race([pass(10_000), client.closed]);
      await isAlive(client);
      assert.ok(client.pings >= 3, `${client.pings} Pings`);
    });

    await t.test('without Pings nginx cuts an idle client', async (t) => {
      const { url } = await Nginx.start(t, hasty, await Broker.forTest(t, NO_PING));
      const client = await idleClient(t, url);
      await limit(client.closed, 'nginx cuts the client', 30_000);
    });

    await t.test('without the upgrade headers stompd names what is missing', async (t) => {
      const forgetful = code.replace('proxy_set_header Upgrade $http_upgrade;', '');
      const { url } = await Nginx.start(t, forgetful, await Broker.forTest(t));
      assert.equal(await statusFor(url, 'https://example.org'), 426);
    });
  },
});
