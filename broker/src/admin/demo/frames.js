// Parses frames from the bytes of a WebSocket: the page shows what was sent, not what a library
// makes of it.

const [NUL, LF, CR] = [0, 10, 13];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A frame as it was written; a heart-beat has no command. */
export class Frame {
  /** Header lines as sent, escaped. */
  headers = [];
  body = '';

  constructor(command = '') {
    this.command = command;
  }

  /** The value of a header as sent; of several the first counts. */
  header(name) {
    return this.headers.find(([known]) => known === name)?.[1];
  }
}

/** One direction of a connection. */
export class FrameReader {
  #bytes = new Uint8Array(0);

  /** Returns the frames that this data, a string or an ArrayBuffer, completes. */
  read(data) {
    this.#append(typeof data === 'string' ? encoder.encode(data) : new Uint8Array(data));
    const frames = [];
    let start = 0;
    for (let end; (end = this.#one(start, frames)) > start; ) start = end;
    this.#bytes = this.#bytes.subarray(start);
    return frames;
  }

  #append(more) {
    if (this.#bytes.length === 0) {
      this.#bytes = more;
      return;
    }
    const both = new Uint8Array(this.#bytes.length + more.length);
    both.set(this.#bytes);
    both.set(more, this.#bytes.length);
    this.#bytes = both;
  }

  /** Reads one frame, and returns where it ends, or where it began if it is not complete. */
  #one(start, frames) {
    const bytes = this.#bytes;
    const begin = bytes[start] === CR ? start + 1 : start;
    if (bytes[begin] === LF) {
      frames.push(new Frame());
      return begin + 1;
    }
    const [head, body] = this.#head(start);
    if (!body) return start;
    const [command, ...lines] = decoder.decode(bytes.subarray(start, head)).split(/\r?\n/);
    const frame = new Frame(command);
    frame.headers = lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]);
    const length = frame.header('content-length');
    const end = length === undefined ? bytes.indexOf(NUL, body) : body + Number(length);
    if (end < 0 || end >= bytes.length) return start;
    frame.body = decoder.decode(bytes.subarray(body, end));
    frames.push(frame);
    return end + 1;
  }

  /** Where the last header line ends, and where the body begins. */
  #head(start) {
    const bytes = this.#bytes;
    for (let at = bytes.indexOf(LF, start); at >= 0; at = bytes.indexOf(LF, at + 1)) {
      const head = bytes[at - 1] === CR ? at - 1 : at;
      if (bytes[at + 1] === LF) return [head, at + 2];
      if (bytes[at + 1] === CR && bytes[at + 2] === LF) return [head, at + 3];
    }
    return [];
  }
}
