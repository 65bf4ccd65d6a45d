// The work queue: each job goes to one tab, which acknowledges it when it is done.

import { hue, pointable } from './chat.js';
import { element } from './wire.js';

const QUEUE = '/queue/demo.jobs';
const RESULTS = '/topic/demo.results';
const WORK = 1500;
const TASKS = ['Print badge', 'Resize photo', 'Bake bread', 'Send invoice', 'Water plant', 'Pack parcel'];

export class Jobs {
  #connection;
  #wire;
  #me;
  #hand = document.querySelector('#job');
  #bars = document.querySelector('#workers');
  #auto = document.querySelector('#auto');
  #buttons = [...document.querySelectorAll('#done, #back')];
  #message;
  #timer;
  #added = 0;
  #done = new Map();

  constructor(connection, wire, me) {
    this.#connection = connection;
    this.#wire = wire;
    this.#me = me;
    for (const [id, count] of [['#add', 1], ['#add-many', 10]]) {
      document.querySelector(id).addEventListener('click', () => this.#add(count));
    }
    document.querySelector('#done').addEventListener('click', () => this.#settle('ack'));
    document.querySelector('#back').addEventListener('click', () => this.#settle('nack'));
    this.#auto.addEventListener('change', () => this.#work());
    connection.addEventListener('state', () => this.#hold(undefined));
    connection.subscribe('results', RESULTS, (message) => this.#finished(message));
    const headers = { ack: 'client-individual', 'prefetch-count': '1' };
    connection.subscribe('jobs', QUEUE, (message) => this.#hold(message), headers);
    this.#hold(undefined);
  }

  #add(count) {
    for (let n = 0; n < count; n++) {
      const task = TASKS[Math.floor(Math.random() * TASKS.length)];
      const number = ++this.#added;
      const headers = { from: this.#me.name, 'demo-id': `${this.#me.id}-job-${number}` };
      this.#connection.publish(QUEUE, `${task} ${this.#me.name.slice(0, 1)}${number}`, headers);
    }
  }

  /** The current job, if any: only the connection that delivered it can settle it. */
  #hold(message) {
    this.#message = message;
    for (const button of this.#buttons) button.disabled = !message;
    this.#hand.replaceChildren(...(message ? this.#describe(message) : [element('span', 'none', 'Nothing to do')]));
    this.#work();
  }

  #describe({ headers, body }) {
    const job = element('button', 'link', body);
    job.type = 'button';
    job.title = 'Show its frames on the wire';
    // A job sent by `stompd pub` has no id.
    if (headers['demo-id']) pointable(job, this.#wire, headers['demo-id'], 'jobs', story);
    const again = element('span', 'again', 'redelivered');
    again.title = 'Another tab had it and did not finish it';
    return headers.redelivered === 'true' ? [job, again] : [job];
  }

  #work() {
    clearTimeout(this.#timer);
    this.#hand.classList.toggle('working', Boolean(this.#message) && this.#auto.checked);
    if (this.#message && this.#auto.checked) this.#timer = setTimeout(() => this.#settle('ack'), WORK);
  }

  #settle(how) {
    const message = this.#message;
    if (!message || !this.#connection.up) return;
    // A job that is returned must not come straight back to a tab that works automatically.
    if (how === 'nack') this.#auto.checked = false;
    this.#hold(undefined);
    if (how === 'ack') {
      const { headers, body } = message;
      this.#connection.publish(RESULTS, body, { from: this.#me.name, 'demo-id': headers['demo-id'] ?? '' });
    }
    message[how]();
  }

  #finished({ headers: { from = 'somebody' } }) {
    this.#done.set(from, (this.#done.get(from) ?? 0) + 1);
    const most = Math.max(...this.#done.values());
    const bars = [...this.#done].sort().map(([name, count]) => {
      const bar = element('span', 'bar');
      bar.style.setProperty('--hue', hue(name));
      bar.style.setProperty('--share', count / most);
      return element('li', '', [element('span', 'worker', name), bar, element('span', 'count', `${count}`)]);
    });
    this.#bars.replaceChildren(...bars);
  }
}

function story() {
  return 'One SEND to the queue became one MESSAGE, in one tab only. It stays this tab’s until its ACK; without, another tab gets it.';
}
