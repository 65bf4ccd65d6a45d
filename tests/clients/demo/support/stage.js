// Chromium tabs that show the demo page, and checks that apply to all of them.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { retry } from '../../node/support/time.js';
import { Browser } from '../../browser/support/browser.js';

const PATIENCE = 60_000;

/** Chromium until the tests of the file have ended. */
export async function browse() {
  const browser = await Browser.start();
  after(() => browser.close());
  return browser;
}

let rooms = 0;

/**
 * A test that gets `open(options)`: returns a new, connected tab in front of the others. Tabs of a test share a room
 * that no other test uses. None may write to the console or contact any host but the broker.
 */
export function demo(title, browser, broker, body) {
  test(title, { timeout: 180_000 }, async (t) => {
    const faults = [];
    const room = `room-${++rooms}`;
    const open = async ({ width = 1440, height = 900, connected = true } = {}) => {
      const page = await browser.tab();
      t.after(() => page.isClosed() || page.close());
      page.on('console', (message) => faults.push(message.text()));
      page.on('pageerror', (error) => faults.push(error.message));
      page.on('request', (request) => request.url().startsWith(broker.address) || faults.push(request.url()));
      await page.setViewportSize({ width, height });
      await page.goto(broker.page(room));
      const tab = new Tab(page);
      if (connected) await tab.shows('#state', 'Connected');
      return tab;
    };
    await body({ open, t });
    assert.deepEqual(faults, []);
  });
}

export class Tab {
  constructor(page) {
    this.page = page;
  }

  /** Clicks and keys go to the tab in front. */
  async front() {
    await this.page.bringToFront();
    return this.page;
  }

  /** The texts of all that match. */
  texts(selector) {
    return this.page.locator(selector).allTextContents();
  }

  async count(selector) {
    return this.page.locator(selector).count();
  }

  /** Waits until something that matches has this text in it. */
  async shows(selector, text) {
    const shown = async () => (await this.texts(selector)).find((found) => found.includes(text));
    return retry(`${selector} shows ${text}`, shown, PATIENCE);
  }

  async say(text) {
    await this.front();
    await this.page.locator('#text').fill(text);
    await this.page.locator('#text').press('Enter');
  }

  async click(selector) {
    await this.front();
    await this.page.locator(selector).click();
  }
}

/** Polls until the answer is true, with a timeout for slow machines. */
export const eventually = (what, ask) => retry(what, ask, PATIENCE);
