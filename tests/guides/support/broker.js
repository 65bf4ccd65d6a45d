// The broker for the snippets, and the snippets adapted to its ports.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { limit, retry } from '../../clients/node/support/time.js';
import { ROOT } from './blocks.js';

export const BINARY = path.resolve(process.env.STOMPD_BIN ?? `${ROOT}target/release/stompd`);

export class Broker {
  #log = '';
  #settings;

  /** Starts a broker that ends with the test. `settings` are environment variables. */
  static async forTest(t, settings = {}) {
    const broker = new Broker();
    broker.#settings = settings;
    t.after(() => broker.#stop());
    await broker.#start();
    return broker;
  }

  get url() {
    return `ws://127.0.0.1:${this.websocket}/ws`;
  }

  /** Returns a text with this broker's ports instead of the default ones. */
  rewrite(text) {
    const ports = { 15674: this.websocket, 61613: this.tcp, 15692: this.admin };
    return text.replace(/\b(15674|61613|15692)\b/g, (port) => ports[port]);
  }

  /** Ends the process and starts another one on the same ports. */
  async restart() {
    await this.#stop();
    await this.#start();
  }

  async #start() {
    const address = (port = 0) => `127.0.0.1:${port}`;
    const [websocket, tcp, admin] = [this.websocket, this.tcp, this.admin].map(address);
    const args = ['serve', '--websocket', websocket, '--tcp', tcp, '--admin', admin];
    const env = { ...cleanEnvironment(), STOMPD__STOP__SPREAD: '0s', ...this.#settings };
    // Outside the repository, whose broker.toml would be read.
    this.process = spawn(BINARY, args, { env, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
    this.process.on('error', (error) => (this.#log += `cannot run ${BINARY}: ${error.message}\n`));
    await limit(this.#listens(), 'the broker listens', 30_000).catch((error) => {
      throw new Error(`${error.message}\n${this.#log}`);
    });
  }

  /** Its log names the assigned ports, that of the metrics last. */
  async #listens() {
    const lines = createInterface({ input: this.process.stderr });
    return new Promise((resolve, reject) => {
      lines.on('close', () => reject(new Error(`the broker has ended:\n${this.#log}`)));
      lines.on('line', (line) => {
        this.#log += `${line}\n`;
        this.websocket ??= line.match(/WebSocket: ws:\/\/127\.0\.0\.1:(\d+)/)?.[1];
        this.tcp ??= line.match(/TCP: 127\.0\.0\.1:(\d+)/)?.[1];
        this.admin ??= line.match(/health: http:\/\/127\.0\.0\.1:(\d+)/)?.[1];
        if (line.includes('metrics and health')) resolve();
      });
    });
  }

  /** Sends SIGTERM; the broker must exit by itself with success. */
  async #stop() {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = limit(once(this.process, 'exit'), 'the broker ends', 30_000);
      this.process.kill('SIGTERM');
      await ended;
    }
    assert.equal(this.process.exitCode, 0, `the broker did not stop cleanly:\n${this.#log}`);
    assert.doesNotMatch(this.#log, /panicked/);
  }

  /** Waits until a metric, named with its labels, has this value. */
  async reaches(metric, value) {
    await retry(`${metric} is ${value}`, async () => (await this.#metrics()).includes(`\n${metric} ${value}\n`), 60_000);
  }

  async #metrics() {
    return (await fetch(`http://127.0.0.1:${this.admin}/metrics`)).text();
  }
}

export function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('STOMPD_')));
}
