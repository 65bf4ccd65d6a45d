// Shell commands, in a separate folder with a broker; settings, checked by the broker itself. Also checks that
// each block of the guides has a test that runs it, and that no link is broken.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { allBlocks, blocksOf, guides, homeOf, ROOT, testBlocks } from './support/blocks.js';
import { BINARY, Broker, cleanEnvironment } from './support/broker.js';
import { folder, run } from './support/programs.js';

testBlocks(
  'shell',
  {
    'check-config': shell({
      prints: [/^max_length = 1000000 +# stompd\.toml$/m, /^max_length = 5 +# STOMPD__QUEUE__MAX_LENGTH$/m],
    }),
    health: shell({ prints: [/^ok/m, /^stompd_connections{transport="tcp"} 0$/m, /^stompd_queues 0$/m] }),
    'pub and sub': shell({ prints: [/one pizza[^]*table: 7[^]*one salad/], acknowledges: 2 }),
    'From a terminal': shell({ prints: [/^Hello!$/m, /^one\ntwo$/m, /lost +0/], acknowledges: 2 }),
    Configuration: shell({ prints: [/^websocket = "0\.0\.0\.0:\d+" +# --websocket$/m] }),
    commands: shell({ prints: [/Usage: stompd bench/] }),
    'Measure it yourself': shell({ prints: [/lost +0/] }),
  },
  {
    // A file in which every key is known and valid.
    toml: async ({ code }, t) => {
      const file = path.join(folder(t), 'broker.toml');
      writeFileSync(file, code);
      const { stdout } = await run(BINARY, ['check-config', '--config', file], { env: cleanEnvironment() });
      assert.ok(stdout.includes(`# ok: ${file}`), stdout);
    },
  },
);

test('each block has a test that runs it', () => {
  const orphans = allBlocks().filter((block) => !homeOf(block) && !block.excuse);
  const named = orphans.map(({ file, line, language }) => `${file}:${line} ${language || '(no language)'}`);
  assert.deepEqual(named, [], 'give it a language that tests/guides runs, or <!-- not run: reason -->');
});

test('no two blocks have the same name', () => {
  const names = allBlocks().filter(({ excuse, language }) => !excuse && language !== 'toml').map(({ name }) => name);
  assert.deepEqual(names.filter((name, index) => names.indexOf(name) !== index), []);
});

test('blocks are found with their name, language and excuse', () => {
  const text =
    '# A\n```js\na\n```\n<!-- test: b -->\n\n```sh\nb\n```\n' +
    '<!-- not run: why -->\n```sh\nc\n```\n## D\n  ```\n  d\n  ```\n';
  assert.deepEqual(
    blocksOf('f', text).map(({ line, language, name, excuse, code }) => [line, language, name, excuse, code]),
    [
      [2, 'js', 'A', undefined, 'a\n'],
      [7, 'sh', 'b', undefined, 'b\n'],
      [11, 'sh', 'A', 'why', 'c\n'],
      [15, '', 'D', undefined, 'd\n'],
    ],
  );
});

test('each link of the guides leads to a file and a heading', () => {
  const broken = guides().flatMap(({ file, text }) => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, link]) => link);
    return links.filter((link) => !leadsSomewhere(file, link)).map((link) => `${file}: ${link}`);
  });
  assert.deepEqual(broken, []);
});

function leadsSomewhere(file, link) {
  const [target, heading] = link.split('#');
  const there = target ? path.join(ROOT, path.dirname(file), target) : ROOT + file;
  return existsSync(there) && (!heading || headings(readFileSync(there, 'utf8')).includes(heading));
}

/** Makes anchors as GitHub does. */
function headings(text) {
  const titles = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase());
  return titles.map((title) => title.replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'));
}

/** A recipe: the commands succeed, one after the other, and print this. */
function shell({ prints, acknowledges = 0 }) {
  return async ({ code }, t) => {
    const broker = await Broker.forTest(t);
    const env = {
      ...cleanEnvironment(),
      PATH: `${path.dirname(BINARY)}:${process.env.PATH}`,
      // Where a command looks by default.
      STOMPD_URL: broker.url,
      STOMPD__LISTEN__WEBSOCKET: `127.0.0.1:${broker.websocket}`,
    };
    const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', broker.rewrite(code)], { cwd: folder(t), env });
    for (const pattern of prints) assert.match(stdout, pattern);
    await broker.reaches('stompd_messages_acknowledged_total', acknowledges);
  };
}
