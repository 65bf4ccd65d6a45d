// The chat: a SEND to the room's topic is a MESSAGE in each tab that subscribes to it.

import { element } from './wire.js';

const KEEP = 200;

export class Chat {
  #connection;
  #wire;
  #me;
  #room;
  #log = document.querySelector('#messages');
  #text = document.querySelector('#text');
  #sent = 0;

  constructor(connection, wire, me) {
    this.#connection = connection;
    this.#wire = wire;
    this.#me = me;
    const name = document.querySelector('#name');
    name.value = me.name;
    name.addEventListener('change', () => (name.value = me.rename(name.value)));
    const room = document.querySelector('#room');
    room.addEventListener('change', () => (location.hash = tidy(room.value)));
    addEventListener('hashchange', () => this.#enter(room));
    this.#enter(room);
    document.querySelector('#say').addEventListener('submit', (event) => this.#say(event));
    connection.addEventListener('state', ({ detail }) => {
      document.querySelector('#send').disabled = detail.name !== 'connected';
    });
  }

  get #topic() {
    return `/topic/demo.chat.${this.#room}`;
  }

  #enter(input) {
    const room = tidy(location.hash);
    input.value = room;
    document.querySelector('#second').hash = room;
    if (room === this.#room) return;
    if (this.#room) this.#connection.unsubscribe('chat');
    this.#room = room;
    for (const shown of document.querySelectorAll('.topic')) shown.textContent = this.#topic;
    this.#connection.subscribe('chat', this.#topic, (message) => this.#hear(message));
  }

  #say(event) {
    event.preventDefault();
    const text = this.#text.value.trim();
    if (!text) return;
    const id = `${this.#me.id}-${++this.#sent}`;
    const headers = { from: this.#me.name, 'demo-id': id, 'content-type': 'text/plain' };
    this.#connection.publishWithReceipt(this.#topic, text, headers, () => this.#receipted(id));
    this.#text.value = '';
  }

  #hear({ headers, body }) {
    const from = headers.from || 'somebody';
    const id = headers['demo-id'] ?? '';
    const mine = id.startsWith(`${this.#me.id}-`);
    const item = element('li', mine ? 'mine' : 'theirs');
    const avatar = element('span', 'avatar', from.slice(0, 1).toUpperCase());
    avatar.style.setProperty('--hue', hue(from));
    avatar.setAttribute('aria-hidden', true);
    const who = element('span', 'who', mine ? `${from} (you)` : from);
    const bubble = element('button', 'bubble', [who, element('span', 'said', body)]);
    bubble.type = 'button';
    bubble.title = 'Show its frames on the wire';
    item.append(avatar, bubble);
    if (id) {
      item.dataset.id = id;
      pointable(bubble, this.#wire, id, 'chat', () => story(mine));
    }
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 60;
    this.#log.append(item);
    if (this.#log.childElementCount > KEEP) this.#log.firstElementChild.remove();
    if (atEnd || mine) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #receipted(id) {
    const said = this.#log.querySelector(`[data-id="${id}"] .who`);
    const tick = element('span', 'tick', ' ✓');
    tick.title = 'stompd has sent a RECEIPT for it';
    said?.append(tick);
  }
}

function story(mine) {
  return mine
    ? 'Your SEND ↑ became this MESSAGE ↓, here and in every tab that subscribes. The RECEIPT says that stompd has done it.'
    : 'A SEND of another tab arrived here as this MESSAGE ↓, because this tab subscribes to its destination.';
}

/** Hovering highlights its frames; pressing it pins them. */
export function pointable(target, wire, id, subject, story) {
  const light = () => wire.light(id, story());
  target.addEventListener('pointerenter', ({ pointerType }) => pointerType === 'mouse' && light());
  target.addEventListener('pointerleave', ({ pointerType }) => pointerType === 'mouse' && wire.dim());
  target.addEventListener('focus', () => target.matches(':focus-visible') && light());
  target.addEventListener('blur', () => wire.dim());
  target.addEventListener('click', () => {
    document.dispatchEvent(new CustomEvent('look', { detail: 'wire' }));
    wire.pin(id, story(), subject);
  });
}

/** The same name has the same colour in every tab. */
export function hue(name) {
  return [...name].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 360, 7);
}

function tidy(room) {
  // Room names contain no character that a URL escapes; a percent sign need not start an escape.
  return room.toLowerCase().replace(/%[0-9a-f]{2}|[^a-z0-9-]/g, '').slice(0, 24) || 'lobby';
}
