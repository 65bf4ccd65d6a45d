// Spring Boot with the broker relay: the snippets form an application, of which two instances run.

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before } from 'node:test';

import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';

import { Inbox, limit } from '../clients/node/support/time.js';
import { allBlocks, homeOf, testBlocks } from './support/blocks.js';
import { Broker } from './support/broker.js';
import { folder, Program, run } from './support/programs.js';

const PATIENCE = 60_000;
const cleanups = [];
/** The equivalent of a test's context for all tests. */
const file = { after: (cleanup) => cleanups.unshift(cleanup) };
let broker, instances;

before(async () => {
  broker = await Broker.forTest(file, { STOMPD__QUEUE__METRICS: 'true' });
  const jar = await application();
  instances = await Promise.all([instance(jar), instance(jar)]);
  await relaysAreReady();
}, { timeout: 600_000 });

after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

testBlocks('spring', {
  'Spring: pom.xml': async () => {
    // One connection of each instance, while there is no client.
    await broker.reaches('stompd_connections{transport="tcp"}', 2);
  },

  'Spring: WebSocketConfig.java': async (_, t) => {
    const [anna, bert] = [await connect(t, 0, 'anna'), await connect(t, 1, 'bert')];
    for (const destination of ['/topic/news.*', '/queue/jobs']) {
      const messages = await bert.subscribe(destination);
      anna.client.publish({ destination: destination.replace('*', 'eu'), body: 'from anna' });
      assert.equal((await messages.next(PATIENCE)).body, 'from anna');
    }

    // Spring treats it as a failure if the broker closes first.
    for (let round = 0; round < 10; round++) {
      const guest = await connect(t, 0, 'guest');
      await guest.client.deactivate();
      assert.equal((await guest.closes.next(PATIENCE)).code, 1000, 'a goodbye is no error');
    }

    await broker.restart();
    for (const { client, closes } of [anna, bert]) {
      await closes.next(PATIENCE);
      await client.deactivate({ force: true });
    }
    await relaysAreReady();
  },

  'Spring: Greetings.java': async (_, t) => {
    const [anna, bert] = [await connect(t, 0, 'anna'), await connect(t, 1, 'bert')];
    for (const kind of ['queue', 'topic']) {
      const messages = await bert.subscribe(`/user/${kind}/replies`);
      anna.client.publish({ destination: `/user/bert/${kind}/replies`, body: 'from anna' });
      assert.equal((await messages.next(PATIENCE)).body, 'from anna');
      if (kind === 'queue') {
        anna.client.publish({ destination: '/app/whisper', body: 'psst' });
        assert.equal((await messages.next(PATIENCE)).body, 'psst', 'by convertAndSendToUser, of the other instance');
      }
    }
    const replies = await anna.subscribe('/user/queue/replies');
    anna.client.publish({ destination: '/app/hello', body: 'Anna' });
    assert.equal((await replies.next(PATIENCE)).body, 'Hello, Anna!', 'by @SendToUser');

    // An empty queue is removed with its session; unacknowledged messages stay.
    const forgetful = await connect(t, 1, 'carl');
    const carls = await forgetful.subscribe('/user/queue/replies', { ack: 'client-individual' });
    anna.client.publish({ destination: '/user/carl/queue/replies', body: 'for nobody' });
    await carls.next(PATIENCE);
    for (const { client } of [forgetful, anna, bert]) await client.deactivate();
    await broker.reaches('stompd_queues', 1);
    await broker.reaches('stompd_queue_messages_ready', 1);
  },

  'Spring: client': async ({ code }, t) => {
    const program = path.join(folder(t), 'program.mjs');
    const socket = "import { WebSocket as Socket } from 'ws'; Object.assign(globalThis, { WebSocket: Socket });\n";
    writeFileSync(program, socket + code.replace('8080', instances[0].port));
    await new Program(t, process.execPath, [program]).prints('Hello, Anna!', 'visitor: Anna');
  },
});

/** Builds the application of tests/guides/spring with the snippets in it; returns the path of its jar. */
async function application() {
  const project = folder(file);
  cpSync(path.join(import.meta.dirname, 'spring'), project, { recursive: true });
  for (const { name, language, code } of allBlocks().filter((block) => homeOf(block) === 'spring')) {
    const target = path.join(project, 'src/main/java/guides', name.replace('Spring: ', ''));
    if (language === 'java') writeFileSync(target, `package guides;\n\n${broker.rewrite(code)}`);
    if (language === 'xml') complete(path.join(project, 'pom.xml'), code);
  }
  await run('mvn', ['-B', '-q', 'package'], { cwd: project, timeout: 500_000 });
  return path.join(project, 'target/guides-1.jar');
}

function complete(pom, dependencies) {
  writeFileSync(pom, readFileSync(pom, 'utf8').replace('<!-- SNIPPET -->', dependencies));
}

/** Waits until each instance has subscribed to the two topics of WebSocketConfig.java. */
async function relaysAreReady() {
  await broker.reaches('stompd_subscriptions', 4);
}

async function instance(jar) {
  // Tuned for a quick start.
  const options = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto'];
  const program = new Program(file, 'java', [...options, '-jar', jar, '--server.port=0']);
  const [, port] = await program.prints(/"System" session connected/, /Tomcat started on port (\d+)/);
  return { program, port };
}

/** A client of one of the instances, under a name. */
async function connect(t, number, user) {
  const connects = new Inbox('CONNECTED through the relay');
  const closes = new Inbox('Spring closes the WebSocket');
  const client = new Client({
    reconnectDelay: 200,
    webSocketFactory: () => new WebSocket(`ws://127.0.0.1:${instances[number].port}/ws?user=${user}`, ['v12.stomp']),
    onConnect: (frame) => connects.push(frame),
    onWebSocketClose: (event) => closes.push(event),
  });
  t.after(() => client.deactivate({ force: true }));
  client.activate();
  await connects.next(PATIENCE);
  return { client, closes, subscribe: (...what) => subscribe(client, ...what) };
}

/** Returns once stompd has confirmed the subscription. */
async function subscribe(client, destination, headers = {}) {
  const messages = new Inbox(`a MESSAGE on ${destination} through the relay`);
  const receipt = `subscribe-${destination}`;
  const arrival = new Promise((resolve) => client.watchForReceipt(receipt, resolve));
  client.subscribe(destination, (message) => messages.push(message), { ...headers, receipt });
  await limit(arrival, `RECEIPT of SUBSCRIBE ${destination}`, PATIENCE);
  return messages;
}
