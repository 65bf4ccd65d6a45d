// A proxy between a page and the broker that can stop forwarding the page's data.

import { once } from 'node:events';
import net from 'node:net';

export class Tunnel {
  #muted = false;

  static async to(target) {
    const { hostname, port } = new URL(target);
    const tunnel = new Tunnel();
    tunnel.server = net.createServer((page) => tunnel.#join(page, net.connect(port, hostname)));
    await once(tunnel.server.listen(0, '127.0.0.1'), 'listening');
    tunnel.url = `ws://127.0.0.1:${tunnel.server.address().port}/ws`;
    return tunnel;
  }

  #join(page, broker) {
    page.on('data', (bytes) => this.#muted || broker.write(bytes));
    broker.on('data', (bytes) => page.write(bytes));
    for (const [one, other] of [[page, broker], [broker, page]]) {
      one.on('error', () => other.destroy());
      one.on('end', () => other.end());
      one.on('close', () => other.destroy());
    }
  }

  /** From now on the broker receives nothing from the pages, while they still receive its data. */
  mute() {
    this.#muted = true;
  }

  close() {
    this.server.close();
  }
}
