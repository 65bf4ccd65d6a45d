// Chromium: a separate process with its own profile, controlled over its DevTools protocol.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

import { limit } from '../../node/support/time.js';

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const PATIENCE = 60_000;
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0',
  '--remote-debugging-pipe', // not used, but Chromium ends when it does
];

export class Browser {
  #process;
  #profile;
  #connection;

  /**
   * Started here, since Playwright would prevent the throttling of background tabs, and make every page believe that
   * it is the visible one.
   */
  static async start(flags = []) {
    const browser = new Browser();
    browser.#profile = await mkdtemp(join(tmpdir(), 'stompd-chromium-'));
    const args = [...FLAGS, ...flags, `--user-data-dir=${browser.#profile}`, 'about:blank'];
    browser.#process = spawn(PROGRAM, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });
    const address = await limit(devTools(browser.#process), `${PROGRAM} listens`, PATIENCE);
    browser.#connection = await chromium.connectOverCDP(address, { noDefaults: true });
    return browser;
  }

  /** A new tab, in front of the others. */
  async tab() {
    const page = await this.#connection.contexts()[0].newPage();
    page.setDefaultTimeout(PATIENCE);
    return page;
  }

  async close() {
    const ended = limit(once(this.#process, 'exit'), 'Chromium ends', PATIENCE);
    const session = await this.#connection.newBrowserCDPSession();
    await session.send('Browser.close');
    await ended;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** The address that Chromium prints when it is ready. */
async function devTools(child) {
  let log = '';
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`${PROGRAM} has ended with ${code}:\n${log}`)));
    child.stderr.on('data', (text) => {
      log += text;
      const address = /^DevTools listening on (\S+)/m.exec(log)?.[1];
      if (address) resolve(address);
    });
  });
}
