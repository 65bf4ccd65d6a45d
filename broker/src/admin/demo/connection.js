// The tab's connection: stomp.js does the work, this keeps subscriptions over reconnects and records all frames.

import { FrameReader } from './frames.js';

const { Client, Versions } = window.StompJs;

const RECONNECT = 2000;
const HEART_BEAT = 10_000;
const MEASURE = 5000;

/**
 * Events: `state` ({ name, … }: connecting, connected, waiting), `wire` ({ direction, frame } or { note }), `trip` (ms),
 * `refused` (the message of an ERROR).
 */
export class Connection extends EventTarget {
  #client;
  #subscriptions = new Map();
  #receipts = 0;
  #attempts = 0;

  constructor(url) {
    super();
    this.url = url;
    this.#client = new Client({
      webSocketFactory: () => this.#tap(new WebSocket(url, Versions.default.protocolVersions())),
      reconnectDelay: RECONNECT,
      heartbeatIncoming: HEART_BEAT,
      heartbeatOutgoing: HEART_BEAT,
      beforeConnect: () => this.#tell('state', { name: 'connecting' }),
      onConnect: (frame) => this.#connected(frame),
      onStompError: ({ headers }) => this.#tell('refused', headers.message),
      onWebSocketClose: () => this.#tell('state', { name: 'waiting', delay: RECONNECT, attempts: ++this.#attempts }),
    });
    setInterval(() => this.#measure(), MEASURE);
  }

  start() {
    this.#client.activate();
  }

  get up() {
    return this.#client.connected;
  }

  /** Subscribes now and at each reconnect. */
  subscribe(id, destination, onMessage, headers = {}) {
    this.#subscriptions.set(id, { destination, onMessage, headers });
    if (this.up) this.#subscribe(id);
  }

  unsubscribe(id) {
    this.#subscriptions.delete(id);
    if (this.up) this.#client.unsubscribe(id);
  }

  /** Does nothing while there is no connection. */
  publish(destination, body, headers = {}) {
    if (this.up) this.#client.publish({ destination, body, headers });
  }

  /** Calls `onReceipt` when the broker has processed the frame. */
  publishWithReceipt(destination, body, headers, onReceipt = () => {}) {
    if (!this.up) return;
    const receipt = `receipt-${++this.#receipts}`;
    const begin = performance.now();
    this.#client.watchForReceipt(receipt, () => {
      this.#tell('trip', performance.now() - begin);
      onReceipt();
    });
    this.#client.publish({ destination, body, headers: { ...headers, receipt } });
  }

  #subscribe(id) {
    const { destination, onMessage, headers } = this.#subscriptions.get(id);
    this.#client.subscribe(destination, onMessage, { ...headers, id });
  }

  #connected({ headers }) {
    this.#attempts = 0;
    for (const id of this.#subscriptions.keys()) this.#subscribe(id);
    const [, theirs] = headers['heart-beat'].split(',').map(Number);
    this.#tell('state', {
      name: 'connected',
      protocol: this.#client.webSocket.protocol,
      server: headers.server,
      heartBeat: theirs && Math.max(theirs, HEART_BEAT),
    });
    this.#measure();
  }

  #measure() {
    if (!document.hidden) this.publishWithReceipt('/topic/demo.ping', '', {});
  }

  #tap(socket) {
    const [sent, received] = [new FrameReader(), new FrameReader()];
    const send = socket.send.bind(socket);
    socket.send = (data) => {
      send(data);
      for (const frame of sent.read(data)) this.#tell('wire', { direction: 'out', frame });
    };
    socket.addEventListener('open', () => {
      this.#tell('wire', { note: `WebSocket open, subprotocol ${socket.protocol || 'none'}` });
    });
    socket.addEventListener('message', ({ data }) => {
      for (const frame of received.read(data)) this.#tell('wire', { direction: 'in', frame });
    });
    socket.addEventListener('close', ({ code, reason }) => {
      this.#tell('wire', { note: `WebSocket closed: ${code}${reason && `, ${reason}`}` });
    });
    return socket;
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
