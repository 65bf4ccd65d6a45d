// The broker under test: a separate process on its own ports.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { fileURLToPath } from 'node:url';

import { limit, retry } from './time.js';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const BINARY = process.env.STOMPD_BIN ?? here('../../../../target/release/stompd');
const CONFIG = here('../../broker.toml');

export class Broker {
  #process;
  #log = '';
  #settings;

  /** `settings` are environment variables, such as `{ STOMPD__QUEUE__MAX_LENGTH: '3' }`. */
  static async start(settings = {}) {
    const broker = new Broker();
    broker.#settings = settings;
    broker.port = await freePort();
    broker.tcp = await freePort();
    await broker.up();
    return broker;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** Starts the process, also again after `stop` or `kill`, on the same port. */
  async up() {
    const address = `127.0.0.1:${this.port}`;
    const tcp = `127.0.0.1:${this.tcp}`;
    const args = ['serve', '--config', CONFIG, '--websocket', address, '--tcp', tcp, '--admin', ''];
    const env = { ...cleanEnvironment(), ...this.#settings };
    this.#process = spawn(BINARY, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process.on('error', (error) => (this.#log += `cannot run ${BINARY}: ${error.message}\n`));
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.on('data', (text) => (this.#log += text));
    }
    await retry(`the broker listens on ${address}`, async () => {
      const { exitCode, signalCode, pid } = this.#process;
      assert.ok(pid && exitCode === null && signalCode === null, `the broker has ended:\n${this.#log}`);
      return accepts(this.port);
    });
  }

  /** Sends SIGTERM, as an init system would; the broker must exit by itself with success. */
  async stop() {
    assert.equal(await this.#end('SIGTERM'), 0, `the broker did not stop cleanly:\n${this.#log}`);
    assert.doesNotMatch(this.#log, /panicked/);
  }

  /** Sends SIGKILL, which clients see as a crash. */
  async kill() {
    await this.#end('SIGKILL');
  }

  async #end(signal) {
    const ended = limit(once(this.#process, 'exit'), `the broker ends after ${signal}`, 15_000);
    this.#process.kill(signal);
    const [code] = await ended;
    return code;
  }
}

function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('STOMPD_')));
}

/** A free port below the kernel's range for outgoing connections. */
async function freePort() {
  return retry('a port is free', async () => {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = net.createServer().listen(port, '127.0.0.1');
    const free = await Promise.race([
      once(server, 'listening').then(() => true),
      new Promise((resolve) => server.on('error', () => resolve(false))),
    ]);
    if (free) await new Promise((resolve) => server.close(resolve));
    return free && port;
  });
}

async function accepts(port) {
  const socket = net.connect(port, '127.0.0.1');
  const connected = await new Promise((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  });
  socket.destroy();
  return connected;
}
