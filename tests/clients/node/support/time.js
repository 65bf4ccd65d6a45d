// Waiting with an end: a test says what it waits for, and fails with these words.

import { setTimeout as delay } from 'node:timers/promises';

const PATIENCE = 10_000;

/** The promise's value, or an error that names `what` did not happen in time. */
export async function limit(promise, what, patience = PATIENCE) {
  const stop = new AbortController();
  const late = delay(patience, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`not within ${patience} ms: ${what}`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

/** Asks until the answer is true; gives it back. */
export async function retry(what, ask, patience = PATIENCE) {
  for (const end = Date.now() + patience; Date.now() < end; await delay(10)) {
    const answer = await ask();
    if (answer) return answer;
  }
  throw new Error(`not within ${patience} ms: ${what}`);
}

/** Passes time where time itself is what a test is about (heart-beats); nowhere else. */
export const pass = (milliseconds) => delay(milliseconds);

/** Things that arrive, to be taken in their order. */
export class Inbox {
  #arrived = [];
  #waiting = [];

  constructor(what) {
    this.what = what;
  }

  push(item) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#arrived.push(item);
  }

  /** How many have arrived that nobody took. */
  get length() {
    return this.#arrived.length;
  }

  async next(patience) {
    if (this.#arrived.length > 0) return this.#arrived.shift();
    return limit(new Promise((resolve) => this.#waiting.push(resolve)), this.what, patience);
  }

  async take(count) {
    const items = [];
    while (items.length < count) items.push(await this.next());
    return items;
  }
}
