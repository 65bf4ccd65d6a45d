// The right half: every frame of this tab, both directions.

// Number of frames kept of each kind, so that prices do not displace chat, and nothing displaces the first frames.
const KEEP = { chat: 130, prices: 180, jobs: 90, connection: 40, rare: 60 };
const OFTEN = ['SEND', 'MESSAGE', 'RECEIPT', 'ACK', 'NACK', ''];
const MOST = Object.values(KEEP).reduce((sum, count) => sum + count);

/** Milliseconds for which frames are gathered before they are drawn. */
const BATCH = 60;

const HINTS = {
  ACK: 'done, you may forget it',
  CONNECT: 'hello, this is what I can do',
  CONNECTED: 'welcome, this is what we do',
  DISCONNECT: 'good-bye',
  ERROR: 'refused; the connection ends',
  MESSAGE: 'somebody’s SEND, for my subscription',
  NACK: 'not done, give it to somebody again',
  RECEIPT: 'stompd has your frame',
  SEND: 'to whoever subscribes there',
  SUBSCRIBE: 'let me have what is sent there',
  UNSUBSCRIBE: 'no more of it',
};

const STORY = document.querySelector('#story').textContent;

export class Wire {
  #list = document.querySelector('#frames');
  #scroller = document.querySelector('#scroller');
  #story = document.querySelector('#story');
  #pause = document.querySelector('#pause');
  #newest = document.querySelector('#newest');
  #rates = { out: document.querySelector('#out'), in: document.querySelector('#in') };

  #records;
  /** What to draw: new records, or everything. */
  #fresh = [];
  #all = false;
  #drawing = false;

  #subject = 'all';
  #command = 'all';
  #folded = false;
  #paused = false;
  #follows = true;
  /** The message whose frames are highlighted, and the one to return to. */
  #lit;
  #pinned;
  #count = { out: 0, in: 0 };
  #number = 0;
  /** Only an earlier frame tells what a RECEIPT or an ACK refers to. */
  #receipts = new Map();
  #deliveries = new Map();

  constructor(connection) {
    connection.addEventListener('wire', ({ detail }) => this.#take(detail));
    for (const radio of document.querySelectorAll('input[name=subject]')) {
      radio.addEventListener('change', () => this.#filter(radio.value, this.#command));
    }
    const command = document.querySelector('#command');
    command.addEventListener('change', () => this.#filter(this.#subject, command.value));
    document.querySelector('#clear').addEventListener('click', () => this.#clear());
    const fold = document.querySelector('#fold');
    fold.addEventListener('click', () => {
      this.#folded = !this.#folded;
      fold.setAttribute('aria-pressed', this.#folded);
      this.#redraw();
    });
    this.#pause.addEventListener('click', () => {
      this.#paused = !this.#paused;
      this.#pause.setAttribute('aria-pressed', this.#paused);
      this.#pause.textContent = this.#paused ? 'Go on' : 'Pause';
      if (!this.#paused) this.#redraw();
    });
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#newest.addEventListener('click', () => this.#follow());
    document.addEventListener('keydown', ({ key }) => key === 'Escape' && this.#unpin());
    setInterval(() => this.#measure(), 1000);
    this.#clear();
  }

  /** Highlights the frames of a chat message or a job, and explains them. */
  light(about, story) {
    this.#mark(about);
    this.#story.textContent = story;
    this.#story.classList.add('told');
    this.#ofLit()[0]?.scrollIntoView({ block: 'nearest' });
  }

  /** The same, until it is pressed again; also removes filters that hide them. */
  pin(about, story, subject) {
    if (this.#pinned?.about === about) {
      this.#unpin();
      return;
    }
    document.querySelector('#command').value = 'all';
    document.querySelector(`input[name=subject][value=${subject}]`).checked = true;
    this.#filter(subject, 'all');
    this.#draw();
    this.#pinned = { about, story };
    this.light(about, story);
    const rows = this.#ofLit();
    for (const row of rows) row.querySelector('details').open = true;
    rows[0]?.scrollIntoView({ block: 'start' });
    this.#hold();
  }

  dim() {
    if (this.#pinned) {
      this.light(this.#pinned.about, this.#pinned.story);
      return;
    }
    this.#mark(undefined);
    this.#story.textContent = STORY;
    this.#story.classList.remove('told');
    if (this.#follows) this.#schedule();
  }

  #unpin() {
    this.#pinned = undefined;
    this.dim();
  }

  #mark(about) {
    this.#lit = about;
    let some = false;
    for (const row of this.#list.children) {
      const lit = about !== undefined && row.dataset.about === about;
      row.classList.toggle('lit', lit);
      some ||= lit;
    }
    this.#list.classList.toggle('some-lit', some);
  }

  #ofLit() {
    return [...this.#list.children].filter(({ dataset }) => dataset.about === this.#lit);
  }

  // --- what is kept ---

  #take({ direction, frame, note }) {
    const record = { number: ++this.#number, at: new Date(), direction, frame, note, ...this.#place(frame) };
    if (direction) this.#count[direction]++;
    const kind = OFTEN.includes(frame?.command) ? record.subject : 'rare';
    const kept = this.#records[kind];
    kept.push(record);
    if (kept.length > KEEP[kind]) kept.shift().gone = true;
    this.#fresh.push(record);
    // A hidden or paused tab draws nothing; it draws everything when it continues.
    if (this.#fresh.length > MOST) {
      if (this.#paused) this.#fresh = [];
      else this.#redraw();
    }
    this.#schedule();
  }

  /** Returns the subject of a frame, and the message it refers to. */
  #place(frame) {
    const header = (name) => frame?.header(name);
    const known = this.#deliveries.get(header('id')) ?? this.#receipts.get(header('receipt-id'));
    const place = known ?? {
      subject: subject(header('destination') ?? header('id')),
      about: header('demo-id'),
      quiet: header('destination') === '/topic/demo.ping',
    };
    if (header('ack')) this.#deliveries.set(header('ack'), place);
    if (header('receipt')) this.#receipts.set(header('receipt'), place);
    this.#receipts.delete(header('receipt-id'));
    // Frames that are never acknowledged or receipted must not accumulate.
    for (const map of [this.#deliveries, this.#receipts]) {
      if (map.size > MOST) map.delete(map.keys().next().value);
    }
    return place;
  }

  #clear() {
    this.#records = Object.fromEntries(Object.keys(KEEP).map((kind) => [kind, []]));
    this.#redraw();
  }

  #filter(subject, command) {
    this.#subject = subject;
    this.#command = command;
    this.#follows = true;
    this.#newest.hidden = true;
    this.#unpin();
    this.#redraw();
  }

  #wanted({ subject, frame }) {
    if (this.#subject !== 'all' && subject !== this.#subject) return false;
    return this.#command === 'all' || (frame && (frame.command || 'heart-beat') === this.#command);
  }

  // --- what is drawn, some frames at a time ---

  #redraw() {
    this.#all = true;
    this.#fresh = [];
    this.#schedule();
  }

  #schedule() {
    if (this.#drawing) return;
    this.#drawing = true;
    setTimeout(() => requestAnimationFrame(() => this.#draw()), BATCH);
  }

  #draw() {
    this.#drawing = false;
    if (this.#paused && !this.#all) return;
    const records = this.#all ? this.#everything() : this.#fresh;
    const rows = records.filter((record) => !record.gone && this.#wanted(record)).map((record) => this.#row(record));
    if (this.#all) this.#list.replaceChildren(...rows);
    else this.#list.append(...rows);
    this.#all = false;
    this.#fresh = [];
    for (const row of [...this.#list.children]) {
      if (row.record.gone) row.remove();
    }
    if (this.#follows && !this.#lit) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #everything() {
    return Object.values(this.#records)
      .flat()
      .sort((one, other) => one.number - other.number);
  }

  #row(record) {
    const row = document.createElement('li');
    row.record = record;
    row.append(record.note ? note(record) : record.frame.command ? this.#frame(record) : heartBeat(record));
    row.className = record.note ? 'note' : record.frame.command ? `frame ${record.direction}` : `beat ${record.direction}`;
    if (record.about) {
      row.dataset.about = record.about;
      row.classList.toggle('lit', record.about === this.#lit);
    }
    return row;
  }

  #frame(record) {
    const { direction, frame } = record;
    const details = element('details');
    const summary = element('summary', '', [
      arrow(direction),
      element('b', 'command', frame.command),
      element('span', 'hint', hint(frame)),
      element('span', 'gist', gist(frame)),
      time(record.at),
    ]);
    details.append(summary);
    // The inside of a frame is created when it is opened: most prices never are.
    const fill = () => details.open && details.childElementCount === 1 && details.append(inside(frame));
    details.addEventListener('toggle', fill);
    details.open = !this.#folded && !record.quiet && record.subject !== 'prices';
    fill();
    return details;
  }

  // --- the rest ---

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (this.#lit) return;
    this.#follows = scrollHeight - scrollTop - clientHeight < 40;
    this.#newest.hidden = this.#follows;
  }

  #follow() {
    this.#follows = true;
    this.#newest.hidden = true;
    this.#unpin();
  }

  #hold() {
    this.#follows = false;
    this.#newest.hidden = false;
  }

  #measure() {
    for (const direction of ['out', 'in']) {
      this.#rates[direction].textContent = this.#count[direction];
      this.#count[direction] = 0;
    }
  }
}

function subject(text = '') {
  if (/demo\.chat\.|^chat$/.test(text)) return 'chat';
  if (/demo\.(prices|exchange)|^(prices|exchange)$/.test(text)) return 'prices';
  return /demo\.(jobs|results)|^(jobs|results)$/.test(text) ? 'jobs' : 'connection';
}

function hint(frame) {
  const toQueue = frame.command === 'SEND' && frame.header('destination')?.startsWith('/queue/');
  return toQueue ? 'to one of those who subscribe there' : (HINTS[frame.command] ?? '');
}

/** The summary of a folded frame. */
function gist(frame) {
  const where = frame.header('destination') ?? frame.header('receipt-id') ?? frame.header('id') ?? '';
  return `${where} ${frame.body.slice(0, 100)}`;
}

/** Header lines, an empty line, the body and the NUL that ends the frame. */
function inside({ headers, body }) {
  const pre = element('pre');
  for (const [name, value] of headers) {
    pre.append(element('span', 'name', name), element('span', 'colon', ':'), element('span', 'value', value), '\n');
  }
  pre.append('\n', element('span', 'body', body), nul());
  return pre;
}

function nul() {
  const mark = element('abbr', 'nul', 'NUL');
  mark.title = 'One byte of zero ends a frame';
  return mark;
}

function heartBeat({ direction, at }) {
  return element('p', '', [arrow(direction), element('span', '', 'heart-beat: an end of line, nothing else'), time(at)]);
}

function note(record) {
  return element('p', '', [element('span', '', record.note), time(record.at)]);
}

function arrow(direction) {
  const mark = element('span', 'arrow', direction === 'out' ? '↑' : '↓');
  mark.setAttribute('role', 'img');
  mark.setAttribute('aria-label', direction === 'out' ? 'sent' : 'received');
  return mark;
}

function time(at) {
  const text = at.toTimeString().slice(0, 8);
  return element('time', '', `${text}.${String(at.getMilliseconds()).padStart(3, '0')}`);
}

/** An element with a class, and with text or children. */
export function element(name, className = '', content = []) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...[content].flat());
  return made;
}
