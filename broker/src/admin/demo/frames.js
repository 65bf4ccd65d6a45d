// The frames in what goes over a WebSocket, read from its octets: the page shows what was sent, not what a library
// makes of it.

const [NUL, LF, CR] = [0, 10, 13];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A frame as it was written; a heart-beat has no command. */
export class Frame {
  /** Header lines as they stand, escaped. */
  headers = [];
  body = '';

  constructor(command = '') {
    this.command = command;
  }

  /** The value of a header, as it stands; of several the first counts. */
  header(name) {
    return this.headers.find(([known]) => known === name)?.[1];
  }
}

/** One direction of a connection. */
export class FrameReader {
  #octets = new Uint8Array(0);

  /** The frames that these data, a string or an ArrayBuffer, complete. */
  read(data) {
    this.#append(typeof data === 'string' ? encoder.encode(data) : new Uint8Array(data));
    const frames = [];
    let start = 0;
    for (let end; (end = this.#one(start, frames)) > start; ) start = end;
    this.#octets = this.#octets.subarray(start);
    return frames;
  }

  #append(more) {
    if (this.#octets.length === 0) {
      this.#octets = more;
      return;
    }
    const both = new Uint8Array(this.#octets.length + more.length);
    both.set(this.#octets);
    both.set(more, this.#octets.length);
    this.#octets = both;
  }

  /** Reads one frame, and says where it ends; where it began if it is not complete. */
  #one(start, frames) {
    const octets = this.#octets;
    const begin = octets[start] === CR ? start + 1 : start;
    if (octets[begin] === LF) {
      frames.push(new Frame());
      return begin + 1;
    }
    const [head, body] = this.#head(start);
    if (!body) return start;
    const [command, ...lines] = decoder.decode(octets.subarray(start, head)).split(/\r?\n/);
    const frame = new Frame(command);
    frame.headers = lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]);
    const length = frame.header('content-length');
    const end = length === undefined ? octets.indexOf(NUL, body) : body + Number(length);
    if (end < 0 || end >= octets.length) return start;
    frame.body = decoder.decode(octets.subarray(body, end));
    frames.push(frame);
    return end + 1;
  }

  /** Where the last header line ends, and where the body begins. */
  #head(start) {
    const octets = this.#octets;
    for (let at = octets.indexOf(LF, start); at >= 0; at = octets.indexOf(LF, at + 1)) {
      const head = octets[at - 1] === CR ? at - 1 : at;
      if (octets[at + 1] === LF) return [head, at + 2];
      if (octets[at + 1] === CR && octets[at + 2] === LF) return [head, at + 3];
    }
    return [];
  }
}
