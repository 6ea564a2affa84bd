/**
 * A process with 200 connections to a port that send half a head, and 200 that send a head and half a body; each that
 * ends reconnects at once. Argument: the port. It prints `ready` when all were there, and a line with how many it
 * opened each time it gets one; it ends when its standard input does.
 */
import { connect } from 'node:net';

const port = Number(process.argv[2]);
const lines = 'Host: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n';
const halves = [
  `GET /admin/sign-in HTTP/1.1\r\nHost:`,
  `POST /admin/sign-in HTTP/1.1\r\n${lines}Content-Length: 100\r\n\r\na=`,
];
let opened = 0;

function open(half: string): void {
  const socket = connect({ host: '127.0.0.1', port }, () => {
    opened += 1;
    if (opened === 200 * halves.length) process.stdout.write('ready\n');
    socket.write(half);
  });
  socket.on('error', () => undefined).resume();
  socket.once('close', () => setImmediate(open, half));
}

for (let count = 0; count < 200; count += 1) halves.forEach(open);
process.stdin.on('data', () => void process.stdout.write(`${opened}\n`)).once('end', () => process.exit());
