// The fenced code blocks of the guides, and how each is tested.
//
// A block is run by the test file of its language (`HOMES`), under its name: that of a comment before it,
// `<!-- test: name -->`, else the heading above it. A name such as `Spring: client` overrides the file of its
// language. `<!-- not run: reason -->` excuses a block.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** The test file for each language. */
export const HOMES = {
  go: ['go'],
  javascript: ['html', 'js', 'jsx', 'ts'],
  nginx: ['nginx'],
  python: ['python'],
  shell: ['sh', 'toml'],
  spring: ['java', 'xml'],
};

/** The test file that runs a block; `undefined` if none does. */
export function homeOf({ name, language }) {
  if (name.startsWith('Spring: ')) return 'spring';
  return Object.keys(HOMES).find((home) => HOMES[home].includes(language));
}

/** README.md and docs/: `{ file, text }`. */
export function guides() {
  const docs = readdirSync(`${ROOT}docs`).filter((name) => name.endsWith('.md'));
  const files = ['README.md', ...docs.sort().map((name) => `docs/${name}`)];
  return files.map((file) => ({ file, text: readFileSync(ROOT + file, 'utf8') }));
}

/** All blocks of the guides: `{ file, line, language, name, excuse, code }`. */
export function allBlocks() {
  return guides().flatMap(({ file, text }) => blocksOf(file, text));
}

/**
 * One test for each block of these languages. `recipes` maps names to functions that test a block; they get the block
 * and the test's context. `byLanguage` has those that need no name.
 */
export function testBlocks(home, recipes, byLanguage = {}) {
  const blocks = allBlocks().filter((block) => homeOf(block) === home);
  for (const block of blocks) {
    const title = `${block.file}:${block.line} ${block.name}`;
    test(title, { timeout: 300_000, skip: block.excuse }, (t) => {
      const recipe = recipes[block.name] ?? byLanguage[block.language];
      assert.ok(recipe, `no test runs this block: give "${block.name}" a recipe in tests/guides/${home}.test.js`);
      return recipe(block, t);
    });
  }
  test(`each recipe of ${home}.test.js has its block`, () => {
    const names = blocks.map(({ name }) => name);
    assert.deepEqual(Object.keys(recipes).filter((name) => !names.includes(name)), []);
  });
}

export function blocksOf(file, text) {
  const blocks = [];
  let [heading, remark, open] = ['', undefined, undefined];
  for (const [index, line] of text.split('\n').entries()) {
    const fence = line.match(/^(\s*)```(\S*)\s*$/);
    if (open && fence) {
      blocks.push(finished(open));
      open = undefined;
    } else if (open) {
      open.lines.push(line.slice(open.indent));
    } else if (fence) {
      open = { file, line: index + 1, language: fence[2], heading, remark, indent: fence[1].length, lines: [] };
      remark = undefined;
    } else if (line.trim() !== '') {
      heading = line.match(/^#+ (.*)/)?.[1] ?? heading;
      remark = line.match(/^\s*<!-- (test|not run): (.+) -->$/)?.slice(1);
    }
  }
  assert.equal(open, undefined, `${file}: a fence is not closed`);
  return blocks;
}

function finished({ file, line, language, heading, remark: [kind, text] = [], lines }) {
  return {
    file,
    line,
    language,
    name: kind === 'test' ? text : heading,
    excuse: kind === 'not run' ? text : undefined,
    code: lines.join('\n') + '\n',
  };
}
