/**
 * Half-open flood: 600 connections send half a request each to keep the liveness probe out, so that the daemon is
 * restarted. Every probe is answered within a second; the quickest of three counts, since other processes can only add.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { startHealthServer } from '../../../src/adapters/http/health-server.ts';
import type { Readiness } from '../../../src/ingest/readiness.ts';

const attackers = 600;
const probeMs = 1_000;
/** A probe that is kept out. */
const patienceMs = 20_000;

/** Connects, sends `bytes`, and connects again as soon as it is closed, until `stop`. */
async function hold(port: number, bytes: string, open: Set<Socket>, stop: AbortSignal): Promise<void> {
  if (stop.aborted) return;
  const socket = connect(port, '127.0.0.1');
  open.add(socket.on('error', () => undefined).resume());
  socket.once('close', () => {
    open.delete(socket);
    setTimeout(() => void hold(port, bytes, open, stop), 20);
  });
  await once(socket, 'connect');
  socket.write(bytes);
}

test.each([
  ['half a head', 'GET /livez HTTP/1.1\r\nHost: localhost\r\n', true],
  ['nothing', '', true],
  ['requests whose answer takes long', 'GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n', false],
])('%s', async (_title, bytes, isReadinessKnown) => {
  const hangs = new Promise<never>(() => undefined);
  const readiness = async () => (isReadinessKnown ? ({ ready: true } as Readiness) : await hangs);
  await using server = await startHealthServer({ host: '127.0.0.1', port: 0 }, { readiness, metrics: null });
  const { port } = new URL(server.address);
  const open = new Set<Socket>();
  const stop = new AbortController();
  try {
    await Promise.all(Array.from({ length: attackers }, () => hold(Number(port), bytes, open, stop.signal)));
    for (let probe = 0; probe < 10; probe += 1) {
      let quickestMs = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < 3 && quickestMs >= probeMs; attempt += 1) {
        const sentMs = performance.now();
        const answer = await fetch(`${server.address}/livez`, { signal: AbortSignal.timeout(patienceMs) });
        expect(answer.status).toBe(200);
        quickestMs = Math.min(quickestMs, performance.now() - sentMs);
      }
      expect(quickestMs).toBeLessThan(probeMs);
    }
  } finally {
    stop.abort();
    for (const socket of open) socket.destroy();
  }
});
