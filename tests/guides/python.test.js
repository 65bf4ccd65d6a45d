// Python with stomp.py, in the virtual environment of tests/clients/python.

import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { ROOT, testBlocks } from './support/blocks.js';
import { Broker } from './support/broker.js';
import { folder, Program } from './support/programs.js';

const PYTHON = `${ROOT}tests/clients/python/.venv/bin/python`;

testBlocks('python', {
  'From Python: stomp.py': async (block, t) => {
    const broker = await Broker.forTest(t);
    // Run as at a prompt (-i): as a program it would exit before the message arrives.
    await start(block, broker, t, '-i').prints('/topic/chat.hello Hello!');
  },
  'stomp.py': async (block, t) => {
    const broker = await Broker.forTest(t);
    const program = start(block, broker, t);
    await program.prints('working: count the sheep');
    await broker.reaches('stompd_messages_acknowledged_total', 1);

    await broker.restart();
    await broker.reaches('stompd_queue_consumers', 1);
  },
});

function start({ code }, broker, t, ...options) {
  const file = path.join(folder(t), 'snippet.py');
  writeFileSync(file, broker.rewrite(code));
  return new Program(t, PYTHON, ['-u', ...options, file]);
}
