// Tests in tabs, repeated for the releases and forms of stomp.js, and the protocol's versions.

import { after, test } from 'node:test';

import { Browser } from './browser.js';
import { Pages } from './pages.js';

/** One row for each combination of release, form and version that is tested. */
export const COMBINATIONS = [
  { release: '7.1', form: 'umd', version: '1.2' },
  { release: '7.5', form: 'esm', version: '1.2' },
  { release: '7.5', form: 'esm', version: '1.1' },
];

/** Chromium and the site, until the tests of the file have ended. */
export async function browse(flags) {
  const pages = await Pages.serve();
  after(() => pages.close());
  const browser = await Browser.start(flags);
  after(() => browser.close());
  return { browser, pages };
}

/**
 * One test per combination. `body` gets `connect(options)`, which returns a new `Tab` in front of the others, with a
 * connected client; options are those of stomp.js, and `host` for the page's own. Tabs end with the test.
 */
export function testEach(title, { browser, pages }, broker, { combinations = COMBINATIONS }, body) {
  for (const combination of combinations) {
    const { release, form, version } = combination;
    test(`${title} (stomp.js ${release} ${form}, STOMP ${version})`, { timeout: 180_000 }, async (t) => {
      const connect = async ({ host, ...options } = {}) => {
        const page = await browser.tab();
        t.after(() => page.close());
        await page.goto(pages.url(combination, host));
        const tab = new Tab(page, { brokerURL: broker.url, version, ...options });
        await tab.connect();
        return tab;
      };
      await body({ connect, combination, browser, t });
    });
  }
}

/** A page with one `Peer`, which is in page/peer.js. */
class Tab {
  #options;
  #peer;

  constructor(page, options) {
    this.page = page;
    this.#options = options;
  }

  /** Connects; also after the page was reloaded. */
  async connect() {
    this.#peer = await this.page.evaluateHandle(async (options) => {
      const { Peer } = await import('/support/page/peer.js');
      const peer = new Peer(options);
      await peer.connect();
      return peer;
    }, this.#options);
  }

  /** Runs `script(peer, argument)` in the page; it sees nothing else of the test. */
  run(script, argument) {
    return this.#peer.evaluate(script, argument);
  }
}
