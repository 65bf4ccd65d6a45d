// JavaScript, TypeScript and pages: each as a separate program, against its own broker.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { transform } from 'esbuild';
import { JSDOM, VirtualConsole } from 'jsdom';

import { retry } from '../clients/node/support/time.js';
import { testBlocks } from './support/blocks.js';
import { Broker } from './support/broker.js';
import { folder, Program, run } from './support/programs.js';

testBlocks('javascript', {
  'From a browser or Node: stomp.js': program({ prints: ['Hello!'] }),
  Queues: program({
    before: `
      import { Client } from '@stomp/stompjs';
      const work = (body) => console.log('work:', body);
      const client = new Client({ brokerURL: 'ws://127.0.0.1:15674/ws' });
      client.onConnect = () => {`,
    after: '}; client.activate();',
    prints: ['work: one pizza'],
    acknowledges: 1,
  }),
  'stomp.js in a page': page({ shows: 'Hello from a page!' }),
  'stomp.js in Node': program({ prints: ['the broker has it', 'working: resize picture 7'], acknowledges: 1 }),
  'rx-stomp': program({ prints: ['42.10'] }),
  React: program({
    after: `
      import { JSDOM } from 'jsdom';
      const { window } = new JSDOM('<main></main>');
      Object.assign(globalThis, { window, document: window.document });
      globalThis.navigator ??= window.navigator;
      const { createRoot } = await import('react-dom/client');
      const main = document.querySelector('main');
      createRoot(main).render(<Price market="eu" />);
      setInterval(() => console.log(main.textContent), 50);
      ${publishing('/topic/prices.eu', '42.10')}`,
    prints: ['eu: …', 'eu: 42.10'],
  }),
  Angular: program({
    before: "import '@angular/compiler';",
    after: `
      import { Injector, runInInjectionContext } from '@angular/core';
      const injector = Injector.create({ providers: [{ provide: Prices }] });
      const shown = runInInjectionContext(injector, () => new Price());
      setInterval(() => console.log('eu:', shown.price()), 50);
      ${publishing('/topic/prices.eu', '42.10')}`,
    prints: ['eu: …', 'eu: 42.10'],
  }),
  'React Native': program({ prints: ['It works 📱'] }),
});

/** A recipe: the snippet between `before` and `after` is a program that prints something. */
function program({ before = '', after = '', prints, acknowledges = 0 }) {
  return async ({ code, language }, t) => {
    const broker = await Broker.forTest(t);
    const work = folder(t);
    if (language === 'ts') await checkTypes(code, work);
    const file = path.join(work, 'program.mjs');
    writeFileSync(file, WEBSOCKET + broker.rewrite(await javascript([before, code, after].join('\n'), language)));
    await new Program(t, process.execPath, [file]).prints(...prints);
    await broker.reaches('stompd_messages_acknowledged_total', acknowledges);
  };
}

async function javascript(source, loader) {
  const compilerOptions = { experimentalDecorators: true };
  return (await transform(source, { loader, jsx: 'automatic', tsconfigRaw: { compilerOptions } })).code;
}

/** Checked by TypeScript itself; the tool that strips types does not check them. */
async function checkTypes(code, work) {
  writeFileSync(path.join(work, 'snippet.ts'), code);
  const tsc = path.resolve(import.meta.dirname, 'node_modules/typescript/bin/tsc');
  const options = '--noEmit --strict --skipLibCheck --experimentalDecorators --target es2022 --module nodenext';
  await run(process.execPath, [tsc, ...options.split(' '), 'snippet.ts'], { cwd: work });
}

/** A recipe: a page, shown by jsdom, in which a text appears. */
function page({ shows }) {
  return async ({ code }, t) => {
    const broker = await Broker.forTest(t);
    const stompjs = path.resolve(import.meta.dirname, 'node_modules/@stomp/stompjs/bundles/stomp.umd.min.js');
    const virtualConsole = new VirtualConsole();
    const problems = [];
    virtualConsole.on('jsdomError', (error) => problems.push(error));
    const { window } = new JSDOM(broker.rewrite(code), {
      url: pathToFileURL(stompjs).href,
      resources: 'usable',
      runScripts: 'dangerously',
      // Provided by browsers and not by jsdom.
      beforeParse: (window) => Object.assign(window, { TextEncoder, TextDecoder }),
      virtualConsole,
    });
    t.after(() => window.close());
    const shown = () => problems.length > 0 || window.document.body.textContent.includes(shows);
    await retry(`the page shows "${shows}"`, shown, 60_000);
    if (problems.length > 0) throw problems[0];
  };
}

/** A program of another client that publishes again and again. */
function publishing(destination, body) {
  return `
    import { Client as Publisher } from '@stomp/stompjs';
    const publisher = new Publisher({ brokerURL: 'ws://127.0.0.1:15674/ws' });
    publisher.onConnect = () => setInterval(() =>
      publisher.publish({ destination: '${destination}', body: '${body}' }), 50);
    publisher.activate();`;
}

/** Globals that Node has since release 22, for browser snippets. */
const WEBSOCKET = `
  import { WebSocket as Socket } from 'ws';
  Object.assign(globalThis, { WebSocket: Socket });
`;
