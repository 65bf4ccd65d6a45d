// Go with go-stomp: a separate module, with the releases that go/go.mod pins.

import { cpSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { testBlocks } from './support/blocks.js';
import { Broker } from './support/broker.js';
import { folder, Program } from './support/programs.js';

testBlocks('go', {
  'go-stomp': async ({ code }, t) => {
    const broker = await Broker.forTest(t);
    const module = folder(t);
    cpSync(path.join(import.meta.dirname, 'go'), module, { recursive: true });
    writeFileSync(path.join(module, 'main.go'), broker.rewrite(code));
    await new Program(t, 'go', ['run', '-mod=readonly', '.'], { cwd: module }).prints('working: one pizza');
    await broker.reaches('stompd_messages_acknowledged_total', 1);
  },
});
