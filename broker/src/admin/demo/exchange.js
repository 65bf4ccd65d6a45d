// One tab makes the prices. A tab that receives no price for a while begins; of two, the
// one with the larger id stops. There is no state besides the messages.

const PRICES = '/topic/demo.prices';
const CONTROL = '/topic/demo.exchange';
const SILENCE = 2000;
/** After a hand-over the last prices of the previous tab still arrive. */
const GRACE = 1000;
/** Time for another tab to begin after a hand-over. */
const REST = 6000;
const DEFAULT_RATE = 4;

/** Events: `price` ({ symbol, price }), `change` when any of the properties changed. */
export class Exchange extends EventTarget {
  #connection;
  #me;
  #clock = new Worker('clock.js');
  #prices;
  #heard = 0;
  #begun = 0;
  #patience = 0;

  active = false;
  /** The name of the tab that makes the prices; unknown until a price arrives. */
  name;
  rate = DEFAULT_RATE;

  constructor(connection, me, prices) {
    super();
    this.#connection = connection;
    this.#me = me;
    this.#prices = prices;
    this.#clock.onmessage = () => this.#tick();
    connection.addEventListener('state', ({ detail }) => this.#state(detail.name === 'connected'));
    connection.subscribe('prices', `${PRICES}.*`, (message) => this.#hear(message));
    connection.subscribe('exchange', CONTROL, (message) => this.#obey(message));
    setInterval(() => this.#look(), 250);
  }

  takeOver() {
    this.#order('take');
  }

  handOver() {
    this.#order('hand-over');
  }

  setRate(rate) {
    this.#order('rate', String(rate));
  }

  #order(action, body = '') {
    this.#connection.publish(CONTROL, body, { action, exchange: this.#me.id });
  }

  #state(connected) {
    if (!connected) this.#end();
    this.#wait(0);
  }

  /** Waits for a price for at least this time. */
  #wait(rest) {
    this.#heard = performance.now() + rest;
    this.#patience = SILENCE + Math.random() * 500;
  }

  #look() {
    const silent = performance.now() - this.#heard > this.#patience;
    if (silent && !this.active && this.#connection.up) this.#begin();
  }

  #begin() {
    this.active = true;
    this.name = this.#me.name;
    this.#begun = performance.now();
    this.#clock.postMessage(1000 / this.rate);
    this.#changed();
  }

  #end() {
    this.active = false;
    this.name = undefined;
    this.#clock.postMessage(0);
    this.#changed();
  }

  #tick() {
    if (!this.active) return;
    const { symbol, price } = this.#prices.next();
    const headers = { exchange: this.#me.id, from: this.#me.name, rate: this.rate };
    this.#connection.publish(`${PRICES}.${symbol}`, price.toFixed(2), headers);
  }

  #hear({ headers, body }) {
    const { exchange, from, rate } = headers;
    const symbol = headers.destination.slice(PRICES.length + 1);
    this.dispatchEvent(new CustomEvent('price', { detail: { symbol, price: Number(body) } }));
    if (exchange === this.#me.id) return;
    const settled = performance.now() - this.#begun > GRACE;
    if (this.active && settled && exchange < this.#me.id) this.#end();
    if (this.active) return;
    this.#wait(0);
    if (this.name === from && this.rate === Number(rate)) return;
    this.name = from;
    this.rate = Number(rate) || this.rate;
    this.#changed();
  }

  #obey({ headers, body }) {
    const mine = headers.exchange === this.#me.id;
    switch (headers.action) {
      case 'rate':
        this.rate = Math.min(50, Math.max(1, Number(body) || DEFAULT_RATE));
        if (this.active) this.#clock.postMessage(1000 / this.rate);
        this.#changed();
        break;
      case 'take':
        if (mine && !this.active) this.#begin();
        else if (!mine) this.#leave(0);
        break;
      case 'hand-over':
        if (mine) this.#leave(REST);
        // A random delay, so that not all others begin at once.
        else this.#patience = Math.random() * 300;
        if (!mine) this.#heard = performance.now();
        break;
    }
  }

  #leave(rest) {
    if (this.active) this.#end();
    this.#wait(rest);
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
