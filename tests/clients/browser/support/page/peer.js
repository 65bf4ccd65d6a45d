// In the page: stomp.js as its users run it, and helpers for the tests.

import * as time from '/time.js';

export const library = window.StompJs ?? (await import('stompjs'));

const PATIENCE = 30_000; // a browser on a busy machine is slow

export class Inbox extends time.Inbox {
  next() {
    return super.next(PATIENCE);
  }
}

export class Peer {
  connects = new Inbox('CONNECTED');
  disconnects = new Inbox("the RECEIPT of stomp.js's own DISCONNECT");
  errors = new Inbox('ERROR');
  closes = new Inbox('the WebSocket closes');
  /** When the client sent its heart-beats. */
  beats = [];

  #receipts = 0;
  #refuse;
  #refused = new Promise((_, reject) => (this.#refuse = reject));

  constructor({ version, ...options }) {
    this.client = new library.Client({
      stompVersions: new library.Versions([version].flat()),
      reconnectDelay: 0,
      heartbeatIncoming: 0,
      heartbeatOutgoing: 0,
      onConnect: ({ headers }) => this.connects.push(headers),
      onDisconnect: ({ headers }) => this.disconnects.push(headers),
      onStompError: ({ headers, body }) => {
        this.#refuse(new Error(`ERROR: ${headers.message}`));
        this.errors.push({ headers, body });
      },
      onWebSocketClose: ({ code, reason, wasClean }) => this.closes.push({ code, reason, wasClean }),
      debug: (line) => line === '>>> PING' && this.beats.push(performance.now()),
      ...options,
    });
    this.#refused.catch(() => {}); // possibly without a waiter
  }

  /** Connects, and keeps the headers of CONNECTED. */
  async connect() {
    this.client.activate();
    this.connected = await this.connects.next();
    this.since = performance.now();
  }

  /** Returns a receipt to request in a frame's headers, and a promise of its arrival. */
  receipt() {
    const id = `receipt-${++this.#receipts}`;
    const arrival = new Promise((resolve) => this.client.watchForReceipt(id, resolve));
    return { id, arrival: time.limit(Promise.race([arrival, this.#refused]), `RECEIPT ${id}`, PATIENCE) };
  }

  /** Subscribes and returns once the broker has confirmed it. */
  async subscribe(destination, headers = {}) {
    const messages = new Inbox(`a MESSAGE on ${destination}`);
    const { id, arrival } = this.receipt();
    const push = (message) => messages.push(message);
    const subscription = this.client.subscribe(destination, push, { ...headers, receipt: id });
    await arrival;
    return { messages, subscription };
  }

  /** Publishes and returns once the broker has confirmed it. */
  async publish({ headers, ...message }) {
    const { id, arrival } = this.receipt();
    this.client.publish({ ...message, headers: { ...headers, receipt: id } });
    await arrival;
  }

  /** The bodies of the next messages; "again" marks redelivered ones. */
  async bodies(messages, count) {
    const taken = await messages.take(count);
    return taken.map(({ body, headers }) => (headers.redelivered === 'true' ? `${body} again` : body));
  }

  /** Returns when everything has arrived that the broker has sent to this client so far. */
  async settled() {
    await this.publish({ destination: `/topic/${crypto.randomUUID()}`, body: 'nobody listens' });
  }

  /** The longest time so far without a heart-beat from the client. */
  silence() {
    const marks = [this.since, ...this.beats, performance.now()];
    return Math.max(...marks.slice(1).map((mark, i) => mark - marks[i]));
  }
}
