// A broker whose metrics can be read.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { limit, retry } from '../../node/support/time.js';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const BINARY = process.env.STOMPD_BIN ?? here('../../../../target/release/stompd');
const CONFIG = here('../../broker.toml');
const LOOPBACK = '127.0.0.1:0';

export class ObservedBroker {
  #process;
  #log = '';

  static async start() {
    const broker = new ObservedBroker();
    const args = ['serve', '--config', CONFIG, '--websocket', LOOPBACK, '--tcp', '', '--admin', LOOPBACK];
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('STOMPD_')));
    broker.#process = spawn(BINARY, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    broker.#process.stderr.on('data', (text) => (broker.#log += text));
    await once(broker.#process, 'spawn');
    broker.url = await broker.#says(/STOMP over WebSocket: (\S+)/);
    broker.metrics = await broker.#says(/metrics and health: (\S+)/);
    return broker;
  }

  async #says(pattern) {
    const [, value] = await retry(`the broker's log has ${pattern}`, () => pattern.exec(this.#log));
    return value;
  }

  /** A metric by its name and labels, as /metrics writes them. */
  async metric(name) {
    const text = await (await fetch(this.metrics)).text();
    const line = text.split('\n').find((line) => line.startsWith(`${name} `));
    assert.ok(line, `there is a metric ${name}`);
    return Number(line.slice(name.length));
  }

  async stop() {
    const ended = limit(once(this.#process, 'exit'), 'the broker ends after SIGTERM', 15_000);
    this.#process.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null], this.#log);
    assert.doesNotMatch(this.#log, /panicked/);
  }
}
