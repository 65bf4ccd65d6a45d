// Waiting with a timeout: a test names what it waits for, and fails with that text.

import { setTimeout as delay } from 'node:timers/promises';

const PATIENCE = 10_000;

/** Returns the promise's value, or throws an error that `what` did not happen in time. */
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

/** Polls until the answer is true, and returns it. */
export async function retry(what, ask, patience = PATIENCE) {
  for (const end = Date.now() + patience; Date.now() < end; await delay(10)) {
    const answer = await ask();
    if (answer) return answer;
  }
  throw new Error(`not within ${patience} ms: ${what}`);
}

/** Waits where time itself is tested (heart-beats); nowhere else. */
export const pass = (milliseconds) => delay(milliseconds);

/** A queue of arrivals, taken in order. */
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

  /** Number of arrivals not taken yet. */
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
