// Runs what a reader would run, and reads its output.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { limit } from '../../clients/node/support/time.js';

const PATIENCE = 120_000;
const WORK = fileURLToPath(new URL('../.work/', import.meta.url));

/** A folder that is removed after the test. It lies here, so that Node finds our packages from inside. */
export function folder(t) {
  mkdirSync(WORK, { recursive: true });
  const made = mkdtempSync(WORK);
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Runs a command to its end; fails with its output if the status is not 0. */
export async function run(command, args, options = {}) {
  try {
    return await promisify(execFile)(command, args, { timeout: 2 * PATIENCE, maxBuffer: 16 << 20, ...options });
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}: ${error.message}\n${error.stdout}${error.stderr}`, {
      cause: error,
    });
  }
}

/** A process that ends with the test. */
export class Program {
  output = '';

  constructor(t, command, args, options = {}) {
    this.process = spawn(command, args, { stdio: 'pipe', ...options });
    this.process.on('error', (error) => (this.output += `cannot run ${command}: ${error.message}\n`));
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on('data', (text) => (this.output += text));
    }
    t.after(() => this.end());
  }

  get ended() {
    const { pid, exitCode, signalCode } = this.process;
    return !pid || exitCode !== null || signalCode !== null;
  }

  /** Waits until it has printed each of these, a text or a pattern; returns the match of the last one. */
  async prints(...expected) {
    let found;
    for (const wanted of expected) {
      const end = Date.now() + PATIENCE;
      while (!(found = this.#find(wanted))) {
        assert.ok(!this.ended && Date.now() < end, `it does not print ${wanted}, but:\n${this.output}`);
        await delay(20);
      }
    }
    return found;
  }

  #find(wanted) {
    return wanted instanceof RegExp ? this.output.match(wanted) : this.output.includes(wanted);
  }

  async end() {
    if (this.ended) return;
    const ended = limit(once(this.process, 'exit'), 'a program ends', 30_000);
    this.process.kill('SIGTERM');
    await ended;
  }
}
