// The board of prices.

import { Exchange } from './exchange.js';
import { element } from './wire.js';

const STOCKS = [
  ['OAK', 'Oak & Acorn', 184.2],
  ['ELM', 'Elm Street', 72.65],
  ['ASH', 'Ash Mining', 41.3],
  ['FIR', 'Fir Freight', 118.9],
  ['YEW', 'Yew Optics', 256.4],
];
const POINTS = 80;
const [WIDTH, HEIGHT] = [120, 30];
const SVG = 'http://www.w3.org/2000/svg';

export class Prices {
  #stocks = new Map(STOCKS.map((stock) => [stock[0], new Stock(...stock)]));
  #drawing = false;
  #exchange;
  #role = document.querySelector('#role');
  #hand = document.querySelector('#hand');
  #rate = document.querySelector('#rate');
  #per = document.querySelector('#per');

  constructor(connection, me) {
    document.querySelector('#board').append(...[...this.#stocks.values()].map(({ row }) => row));
    this.#exchange = new Exchange(connection, me, this);
    this.#exchange.addEventListener('price', ({ detail }) => this.#heard(detail));
    this.#exchange.addEventListener('change', () => this.#changed());
    this.#hand.addEventListener('click', () => {
      if (this.#exchange.active) this.#exchange.handOver();
      else this.#exchange.takeOver();
    });
    this.#rate.addEventListener('input', () => (this.#per.textContent = `${this.#rate.value}/s`));
    this.#rate.addEventListener('change', () => this.#exchange.setRate(Number(this.#rate.value)));
    this.#changed();
  }

  /** The next price, if this tab makes them: it continues from the last one received. */
  next() {
    const stocks = [...this.#stocks.values()];
    const { symbol, price } = stocks[Math.floor(Math.random() * stocks.length)];
    const step = (Math.random() - 0.495) * 0.012;
    return { symbol, price: Math.max(1, price * (1 + step)) };
  }

  #heard({ symbol, price }) {
    if (!(price > 0)) return;
    this.#stocks.get(symbol)?.take(price);
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      for (const stock of this.#stocks.values()) stock.draw();
    });
  }

  #changed() {
    const { active, name, rate } = this.#exchange;
    this.#role.classList.toggle('active', active);
    this.#role.textContent = active
      ? 'This tab is the exchange'
      : name
        ? `${name}’s tab is the exchange`
        : 'Listening for an exchange …';
    this.#hand.textContent = active ? 'Hand over' : 'Take over';
    this.#hand.disabled = !active && !name;
    this.#rate.value = rate;
    this.#per.textContent = `${rate}/s`;
  }
}

class Stock {
  #prices = [];
  #stale = false;
  #shown;
  #figure = element('span', '', '–');
  #change = element('td', 'change');
  #line = document.createElementNS(SVG, 'polyline');
  #area = document.createElementNS(SVG, 'polygon');

  constructor(symbol, name, price) {
    this.symbol = symbol;
    this.price = price;
    const chart = document.createElementNS(SVG, 'svg');
    chart.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    chart.setAttribute('preserveAspectRatio', 'none');
    chart.setAttribute('aria-hidden', true);
    chart.append(this.#area, this.#line);
    const title = element('th', '', [element('b', '', symbol), element('span', '', name)]);
    title.scope = 'row';
    this.row = element('tr', '', [title, element('td', 'chart', [chart]), element('td', 'price', [this.#figure]), this.#change]);
  }

  take(price) {
    this.price = price;
    this.#prices.push(price);
    if (this.#prices.length > POINTS) this.#prices.shift();
    this.#stale = true;
  }

  draw() {
    if (!this.#stale) return;
    this.#stale = false;
    const first = this.#prices[0];
    const change = (this.price / first - 1) * 100;
    this.row.className = change < 0 ? 'down' : 'up';
    this.#figure.textContent = this.price.toFixed(2);
    this.#change.textContent = `${change < 0 ? '▼' : '▲'} ${Math.abs(change).toFixed(2)} %`;
    this.#flash();
    const points = this.#points();
    this.#line.setAttribute('points', points);
    this.#area.setAttribute('points', `0,${HEIGHT} ${points} ${WIDTH},${HEIGHT}`);
  }

  #flash() {
    const rises = this.price >= (this.#shown ?? this.price);
    this.#shown = this.price;
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    const colour = rises ? 'var(--up-soft)' : 'var(--down-soft)';
    this.#figure.animate([{ backgroundColor: colour }, { backgroundColor: 'transparent' }], 700);
  }

  #points() {
    const [least, most] = [Math.min(...this.#prices), Math.max(...this.#prices)];
    const range = most - least || 1;
    const step = WIDTH / Math.max(1, this.#prices.length - 1);
    return this.#prices
      .map((price, index) => `${(index * step).toFixed(1)},${(HEIGHT - 3 - ((price - least) / range) * (HEIGHT - 6)).toFixed(1)}`)
      .join(' ');
  }
}
