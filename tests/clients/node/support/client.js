// stomp.js as its users run it, and tests that are repeated for its releases and the protocol's versions.

import { randomUUID } from 'node:crypto';
import { test } from 'node:test';

import * as stompjs71 from 'stompjs-7.1';
import * as stompjs75 from 'stompjs-7.5';
import WebSocket from 'ws';

import { Inbox, limit } from './time.js';

const LIBRARIES = { 7.1: stompjs71, 7.5: stompjs75 };
export const VERSIONS = ['1.2', '1.1', '1.0'];

/** Each stomp.js release at each of the versions: `{ name, library, version }`. */
export function combinations(versions = VERSIONS) {
  return Object.entries(LIBRARIES).flatMap(([release, library]) =>
    versions.map((version) => ({ name: `stomp.js ${release}, STOMP ${version}`, library, version })),
  );
}

/**
 * One test per combination. `body` gets `connect(options)`, which returns a connected `Peer` that ends with the test;
 * options are those of stomp.js, and `version` (or a list of them).
 */
export function testEach(title, broker, { versions, ...testOptions }, body) {
  for (const { name, library, version } of combinations(versions)) {
    test(`${title} (${name})`, { timeout: 60_000, ...testOptions }, async (t) => {
      const connect = async (options) => {
        const peer = new Peer(library, { brokerURL: broker.url, version, ...options });
        t.after(() => peer.client.deactivate({ force: true }));
        peer.client.activate();
        peer.connected = await peer.connects.next();
        return peer;
      };
      await body({ connect, version, t });
    });
  }
}

/** A destination that no other test uses. */
export const unique = (prefix = '/topic/') => `${prefix}${randomUUID()}`;

/** The bodies of the next messages; "again" marks redelivered ones. */
export async function bodies(messages, count) {
  const taken = await messages.take(count);
  return taken.map(({ body, headers }) => (headers.redelivered === 'true' ? `${body} again` : body));
}

export class Peer {
  connects = new Inbox('CONNECTED');
  disconnects = new Inbox("the RECEIPT of stomp.js's own DISCONNECT");
  errors = new Inbox('ERROR');
  closes = new Inbox('the WebSocket closes');
  beats = new Inbox('a heart-beat');
  pings = new Inbox('a WebSocket Ping');
  wire = new Inbox('a WebSocket message');

  #receipts = 0;
  #refuse;
  #refused = new Promise((_, reject) => (this.#refuse = reject));

  constructor(library, { brokerURL, version, socketOptions, tap = () => {}, ...options }) {
    const stompVersions = new library.Versions([version].flat());
    this.client = new library.Client({
      stompVersions,
      reconnectDelay: 0,
      webSocketFactory: () => {
        this.socket = new WebSocket(brokerURL, stompVersions.protocolVersions(), socketOptions);
        this.socket.on('message', (data, isBinary) => this.wire.push({ data, isBinary }));
        this.socket.on('ping', () => this.pings.push(Date.now()));
        tap(this.socket);
        return this.socket;
      },
      onConnect: (frame) => this.connects.push(frame),
      onDisconnect: (frame) => this.disconnects.push(frame),
      onWebSocketClose: (event) => this.closes.push({ code: event.code, reason: event.reason }),
      onStompError: (frame) => {
        this.#refuse(new Error(`ERROR: ${frame.headers.message}`));
        this.errors.push(frame);
      },
      debug: (line) => line === '<<< PONG' && this.beats.push(Date.now()),
      ...options,
    });
    this.#refused.catch(() => {}); // possibly without a waiter
  }

  /** Returns a receipt to request in a frame's headers, and a promise of its arrival. */
  receipt() {
    const id = `receipt-${++this.#receipts}`;
    const arrival = new Promise((resolve) => this.client.watchForReceipt(id, resolve));
    return { id, arrival: limit(Promise.race([arrival, this.#refused]), `RECEIPT ${id}`) };
  }

  /** Subscribes and returns once the broker has confirmed it. */
  async subscribe(destination, headers = {}) {
    const messages = new Inbox(`a MESSAGE on ${destination}`);
    const { id, arrival } = this.receipt();
    const push = (message) => messages.push(message);
    const subscription = this.client.subscribe(destination, push, { ...headers, receipt: id });
    await arrival;
    return {
      id: subscription.id,
      messages,
      unsubscribe: async () => {
        const receipt = this.receipt();
        subscription.unsubscribe({ receipt: receipt.id });
        await receipt.arrival;
      },
    };
  }

  /** Publishes and returns once the broker has confirmed it. */
  async publish({ headers, ...message }) {
    const { id, arrival } = this.receipt();
    this.client.publish({ ...message, headers: { ...headers, receipt: id } });
    await arrival;
  }

  /** Publishes these bodies in order. */
  async publishAll(destination, bodies) {
    for (const body of bodies.slice(0, -1)) this.client.publish({ destination, body });
    await this.publish({ destination, body: bodies.at(-1) });
  }

  /** Acknowledges a message and returns once the broker has confirmed it. */
  async ack(message, headers = {}) {
    const { id, arrival } = this.receipt();
    message.ack({ ...headers, receipt: id });
    await arrival;
  }

  /** The same for NACK. */
  async nack(message, headers = {}) {
    const { id, arrival } = this.receipt();
    message.nack({ ...headers, receipt: id });
    await arrival;
  }

  /** Returns when everything has arrived that the broker has sent to this client so far. */
  async settled() {
    await this.publish({ destination: unique(), body: 'nobody listens' });
  }

  /** Loses the connection, as a browser that crashes does. */
  async cut() {
    this.socket.terminate();
    await this.closes.next();
  }
}
