// Assembles the page.

import { Chat } from './chat.js';
import { Connection } from './connection.js';
import { Jobs } from './jobs.js';
import { Prices } from './prices.js';
import { Wire } from './wire.js';

const NAMES = ['Ada', 'Alan', 'Barbara', 'Dennis', 'Edsger', 'Frances', 'Grace', 'Hedy', 'Katherine', 'Linus', 'Margaret', 'Niklaus', 'Radia', 'Tim'];
const PATIENCE = 3;
/** The minimum of this number of measurements counts: the others include the page's own work. */
const TRIPS = 5;

const $ = (selector) => document.querySelector(selector);

/** Who this tab is. */
class Me {
  id = Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  name = NAMES[Math.floor(Math.random() * NAMES.length)];

  rename(name) {
    this.name = name.trim() || this.name;
    return this.name;
  }
}

class Status {
  #countdown;
  #trips = [];
  #pill = $('#state');
  #notice = $('#notice');

  constructor(connection) {
    this.url = connection.url;
    connection.addEventListener('state', ({ detail }) => this.#show(detail));
    connection.addEventListener('refused', ({ detail }) => this.#say(`stompd has refused a frame: ${detail}`));
    connection.addEventListener('trip', ({ detail }) => {
      this.#trips = [...this.#trips, detail].slice(-TRIPS);
      const least = Math.min(...this.#trips);
      $('#trip').textContent = `${least < 10 ? least.toFixed(1) : Math.round(least)} ms`;
    });
  }

  #show({ name, protocol, heartBeat, delay, attempts }) {
    clearInterval(this.#countdown);
    this.#pill.dataset.state = name;
    if (name === 'connecting') this.#pill.textContent = 'Connecting';
    if (name === 'connected') {
      this.#pill.textContent = 'Connected';
      $('#protocol').textContent = protocol || 'none';
      $('#heart-beat').textContent = heartBeat ? `${heartBeat / 1000} s` : 'none';
      this.#notice.hidden = true;
    }
    if (name === 'waiting') this.#count(Math.round(delay / 1000));
    if (attempts >= PATIENCE) this.#say(`Nobody answers at ${this.url}. Is stompd running, and its WebSocket port open to you?`);
  }

  #count(seconds) {
    this.#pill.textContent = seconds > 0 ? `Reconnecting in ${seconds} s` : 'Reconnecting';
    this.#countdown = setTimeout(() => this.#count(seconds - 1), 1000);
  }

  #say(text) {
    this.#notice.textContent = text;
    this.#notice.hidden = false;
  }
}

/** A narrow screen shows one part at a time. */
function views() {
  const buttons = [...document.querySelectorAll('#views button')];
  const look = (view) => {
    document.body.dataset.view = view;
    for (const button of buttons) button.setAttribute('aria-pressed', button.dataset.view === view);
  };
  for (const button of buttons) button.addEventListener('click', () => look(button.dataset.view));
  document.addEventListener('look', ({ detail }) => look(detail));
}

const { port, path, version } = await (await fetch('settings.json')).json();
$('#version').textContent = version;
views();
if (port) {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const connection = new Connection(`${scheme}://${location.hostname}:${port}${path}`);
  const me = new Me();
  const wire = new Wire(connection);
  new Status(connection);
  new Chat(connection, wire, me);
  new Prices(connection, me);
  new Jobs(connection, wire, me);
  connection.start();
} else {
  $('#state').textContent = 'Off';
  $('#state').dataset.state = 'off';
  $('#off').hidden = false;
}
