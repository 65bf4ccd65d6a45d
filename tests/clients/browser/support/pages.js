// The site of the tests: pages with stomp.js, from a separate HTTP server on loopback.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const ROOT = new URL('../', import.meta.url);
const TIME = new URL('../node/support/time.js', ROOT);

export class Pages {
  #server = createServer((request, response) => {
    answer(new URL(request.url, 'http://site')).then(
      ({ type, text }) => response.writeHead(200, { 'content-type': type }).end(text),
      (error) => response.writeHead(404).end(error.message),
    );
  });

  static async serve() {
    const pages = new Pages();
    await once(pages.#server.listen(0, '127.0.0.1'), 'listening');
    return pages;
  }

  /** The page with this release of stomp.js, as one script (`umd`) or as modules (`esm`). */
  url({ release, form }, host = '127.0.0.1') {
    return `http://${host}:${this.#server.address().port}/${form}?release=${release}`;
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function answer({ pathname, searchParams }) {
  const library = `/node_modules/stompjs-${searchParams.get('release')}`;
  if (pathname === '/umd') return html({}, `<script src="${library}/bundles/stomp.umd.js"></script>`);
  if (pathname === '/esm') return html({ stompjs: `${library}/esm6/index.js` });
  return { type: 'text/javascript', text: await readFile(file(pathname)) };
}

function file(pathname) {
  if (pathname === '/time.js') return TIME;
  if (/^\/(node_modules\/stompjs-|support\/page\/).+\.js$/.test(pathname)) return new URL(`.${pathname}`, ROOT);
  throw new Error(`there is no ${pathname}`);
}

function html(imports, script = '') {
  // time.js of the Node tests runs in the page too; it imports this one of Node's modules.
  const map = JSON.stringify({ imports: { 'node:timers/promises': '/support/page/timers.js', ...imports } });
  return {
    type: 'text/html; charset=utf-8',
    text: `<!doctype html><link rel="icon" href="data:,"><script type="importmap">${map}</script>${script}\n`,
  };
}
