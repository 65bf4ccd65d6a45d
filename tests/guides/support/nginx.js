// A real nginx around a snippet, and clients that connect through it.

import { mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { once } from 'node:events';

import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';

import { limit, retry } from '../../clients/node/support/time.js';
import { folder, Program, run } from './programs.js';

export class Nginx {
  /** An nginx that ends with the test, with the snippet in its http section. */
  static async start(t, snippet, broker) {
    const nginx = new Nginx();
    nginx.port = await freePort();
    const work = folder(t);
    await certificate(work);
    const inside = broker
      .rewrite(snippet)
      .replace('listen 443', `listen 127.0.0.1:${nginx.port}`)
      .replaceAll('/etc/ssl/', `${work}/`);
    writeFileSync(path.join(work, 'nginx.conf'), main(work, inside));
    const program = new Program(t, process.env.NGINX_BIN ?? 'nginx', ['-p', work, '-c', path.join(work, 'nginx.conf')]);
    await retry(
      'nginx listens',
      () => {
        if (program.ended) throw new Error(`nginx has ended:\n${program.output}`);
        return accepts(nginx.port);
      },
      30_000,
    );
    return nginx;
  }

  get url() {
    return `wss://127.0.0.1:${this.port}/ws`;
  }
}

/** Replaces Debian's /etc/nginx/nginx.conf, for a user that may write only to its folder. */
function main(work, inside) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  for (const kind of temporary) mkdirSync(path.join(work, kind));
  return `
    daemon off;
    pid ${work}/nginx.pid;
    error_log stderr;
    ${process.getuid() === 0 ? 'user root;' : ''}
    events {}
    http {
      access_log off;
      ${temporary.map((kind) => `${kind}_temp_path ${work}/${kind};`).join('\n')}
      ${inside}
    }`;
}

async function certificate(work) {
  const files = ['-keyout', `${work}/example.org.key`, '-out', `${work}/example.org.crt`];
  const options = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=example.org'];
  await run('openssl', ['req', ...options, ...files]);
}

/** Only Pings use its connection: it requests no heart-beats. */
export async function idleClient(t, url) {
  const client = new Client({
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0,
    reconnectDelay: 0,
    webSocketFactory: () => {
      const socket = new WebSocket(url, ['v12.stomp'], { rejectUnauthorized: false, origin: 'https://example.org' });
      socket.on('ping', () => (client.pings += 1));
      return socket;
    },
  });
  client.pings = 0;
  client.closed = new Promise((resolve) => (client.onWebSocketClose = resolve));
  t.after(() => client.deactivate({ force: true }));
  const connected = new Promise((resolve) => (client.onConnect = resolve));
  client.activate();
  await limit(connected, 'CONNECTED through nginx', 30_000);
  return client;
}

/** Whether a message to itself arrives. */
export async function isAlive(client) {
  const arrival = new Promise((resolve) => client.subscribe('/topic/through', resolve));
  client.publish({ destination: '/topic/through', body: 'nginx' });
  await limit(arrival, 'a MESSAGE through nginx', 30_000);
}

/** Returns the status with which a handshake of this Origin is answered. */
export async function statusFor(url, origin) {
  const socket = new WebSocket(url, ['v12.stomp'], { rejectUnauthorized: false, origin });
  socket.on('error', () => {}); // emitted for an answer that is not a WebSocket
  const [, response] = await limit(once(socket, 'unexpected-response'), 'an answer of nginx', 30_000);
  response.destroy();
  return response.statusCode;
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
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
