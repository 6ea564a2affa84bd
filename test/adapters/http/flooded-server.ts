/**
 * The endpoints as a process of their own, with an answer as large as they come. Prints its address; sends its memory
 * when asked.
 */
import { startHealthServer } from '../../../src/adapters/http/health-server.ts';
import type { Readiness } from '../../../src/ingest/readiness.ts';

const list = Array.from({ length: 200 }, (_, index) => ({ mailbox: `mailbox-${index}`, error: 'x'.repeat(400) }));
const readiness = { ready: true, checks: { mailboxes: { list } } } as unknown as Readiness;
const server = await startHealthServer(
  { host: '127.0.0.1', port: 0 },
  { readiness: async () => readiness, metrics: null },
);
process.on('message', () => process.send?.(process.memoryUsage.rss()));
process.send?.(server.address);
