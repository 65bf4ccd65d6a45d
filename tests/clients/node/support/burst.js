// Publishes as fast as the socket accepts it, over TCP.

import net from 'node:net';

import { limit } from './time.js';

/** Writes `count` SENDs of `size` bytes at once. Returns when the broker has handed over all of them. */
export async function burst(broker, destination, count, size) {
  const socket = net.connect(broker.tcp, '127.0.0.1');
  let seen = '';
  const done = new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('data', (text) => {
      seen += text;
      if (seen.includes('receipt-id:last')) resolve();
      else if (seen.includes('ERROR')) reject(new Error(seen));
    });
  });
  const frames = [Buffer.from('CONNECT\naccept-version:1.2\n\n\0')];
  for (let number = 0; number < count; number++) {
    const receipt = number === count - 1 ? 'receipt:last\n' : '';
    frames.push(Buffer.from(`SEND\ndestination:${destination}\n${receipt}\n${String(number).padEnd(size, '.')}\0`));
  }
  socket.write(Buffer.concat(frames));
  await limit(done, 'the RECEIPT of the last SEND', 60_000);
  socket.destroy();
}

/** The bytes of a burst. */
export const BURSTS = [
  { count: 20_000, size: 1000 },
  { count: 100_000, size: 100 },
];
