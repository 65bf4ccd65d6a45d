// A broker with the demo page, on its own ports.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { limit, retry } from '../../node/support/time.js';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const BINARY = process.env.STOMPD_BIN ?? here('../../../../target/release/stompd');
const CONFIG = here('../../broker.toml');
const LOOPBACK = '127.0.0.1:0';

export class DemoBroker {
  #process;
  #log = '';

  /** `settings` are environment variables, such as `{ STOMPD__ADMIN__DEMO: 'false' }`. */
  static async start(settings = {}) {
    const broker = new DemoBroker();
    const args = ['serve', '--config', CONFIG, '--tcp', LOOPBACK, '--admin', LOOPBACK];
    const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('STOMPD_'));
    const env = { STOMPD__LISTEN__WEBSOCKET: LOOPBACK, ...Object.fromEntries(clean), ...settings };
    broker.#process = spawn(BINARY, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    broker.#process.stderr.on('data', (text) => (broker.#log += text));
    await once(broker.#process, 'spawn');
    const says = () => /metrics and health: (http:\S+)\/metrics/.exec(broker.#log);
    const [, address] = await retry('the broker says where its admin port is', says, 30_000);
    broker.address = address;
    return broker;
  }

  /** The address of the page, in a room. */
  page(room) {
    return `${this.address}/demo/#${room}`;
  }

  async stop() {
    const ended = limit(once(this.#process, 'exit'), 'the broker ends after SIGTERM', 15_000);
    this.#process.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null], this.#log);
    assert.doesNotMatch(this.#log, /panicked/);
  }
}
