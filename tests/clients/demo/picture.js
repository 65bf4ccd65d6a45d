// Takes the screenshots of the demo page in docs/pictures: `tests/run picture`.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { Browser } from '../browser/support/browser.js';
import { DemoBroker } from './support/broker.js';

const PICTURES = new URL('../../../docs/pictures/', import.meta.url);
// The machine that takes the screenshots may lack good fonts; the page itself brings none.
const FONTS = {
  sans: 'inter/files/inter-latin-wght-normal.woff2',
  mono: 'jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2',
};
const TALK = [
  ['Ada', 'Anybody else here?'],
  ['Grace', 'Yes, in the tab beside yours'],
  ['Ada', 'I only subscribed to a topic.'],
  ['Grace', 'So did I. No server code at all.'],
  ['Ada', 'And who makes the prices?'],
  ['Grace', 'Your tab. Close it, mine goes on'],
  ['Ada', 'Point at this line'],
];

const broker = await DemoBroker.start({ STOMPD__HEART_BEAT__SEND: '1s', STOMPD__HEART_BEAT__WANT: '10s' });
const browser = await Browser.start(['--force-color-profile=srgb', '--font-render-hinting=none']);
try {
  await take();
} finally {
  await browser.close();
  await broker.stop();
}

async function take() {
  const ada = await open('Ada', 1440, 900);
  await ada.getByText('This tab is the exchange').waitFor();
  const grace = await open('Grace', 390, 844);
  await prices(ada);
  await work(ada);
  for (const [name, text] of TALK) await say(name === 'Ada' ? ada : grace, text);
  await ada.bringToFront();
  await ada.locator('.mine .bubble').last().click();
  await ada.mouse.move(0, 0);
  await settle(ada);
  await save(ada, 'demo.png');
  await scheme(ada, 'dark');
  await save(ada, 'demo-dark.png');
  await grace.bringToFront();
  await settle(grace);
  await save(grace, 'demo-narrow.png');
}

async function open(name, width, height) {
  const page = await browser.tab();
  await scheme(page, 'light');
  await page.setViewportSize({ width, height });
  await page.goto(broker.page('lobby'));
  await dress(page);
  await page.locator('#state[data-state=connected]').waitFor();
  await page.locator('#name').fill(name);
  await page.locator('#name').press('Enter');
  return page;
}

async function dress(page) {
  for (const [name, file] of Object.entries(FONTS)) {
    const url = new URL(`node_modules/@fontsource-variable/${file}`, import.meta.url);
    const font = { name, bytes: await readFile(url, 'base64') };
    await page.evaluate(async ({ name, bytes }) => {
      const face = new FontFace(name, Uint8Array.from(atob(bytes), (char) => char.charCodeAt()), { weight: '100 900' });
      document.fonts.add(await face.load());
      document.documentElement.style.setProperty(`--${name}`, `${name}, sans-serif`);
    }, font);
  }
}

function scheme(page, colorScheme) {
  return page.emulateMedia({ colorScheme });
}

/** Fills the charts at full speed, then slows down. */
async function prices(page) {
  await rate(page, 50);
  await page.waitForTimeout(9000);
  await rate(page, 4);
}

async function rate(page, value) {
  await page.locator('#rate').fill(String(value));
  await page.locator('#rate').dispatchEvent('change');
}

/** Both do some jobs; then Ada has one in hand. */
async function work(ada) {
  await ada.bringToFront();
  await ada.locator('#add-many').click();
  await finished(ada, 5);
  await ada.locator('#auto').uncheck();
  await ada.locator('#done:enabled').waitFor();
  await finished(ada, 9);
}

async function finished(page, least) {
  await page.waitForFunction((least) => {
    const counts = [...document.querySelectorAll('#workers .count')];
    return counts.reduce((sum, { textContent }) => sum + Number(textContent), 0) >= least;
  }, least);
}

async function say(page, text) {
  await page.bringToFront();
  await page.locator('[data-view=chat]').first().dispatchEvent('click');
  await page.locator('#text').fill(text);
  await page.locator('#text').press('Enter');
  await page.locator('.mine .said', { hasText: text }).waitFor();
}

/** Waits until animations of flashes and bars have ended. */
function settle(page) {
  return page.waitForTimeout(1200);
}

function save(page, name) {
  return page.screenshot({ path: fileURLToPath(new URL(name, PICTURES)) });
}
