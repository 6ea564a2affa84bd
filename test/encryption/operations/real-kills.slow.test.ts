/**
 * Crash tests on a real database, key file and state file: dies at any effect, then is run again.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { disable } from '../../../src/encryption/operations/disable.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import type { OperationOptions, OperationPorts } from '../../../src/encryption/operations/operation.ts';
import { rotate } from '../../../src/encryption/operations/rotate.ts';
import { eachDeath } from './deaths.ts';
import { password, type RealServer, startServer } from './real-host.ts';

const options: OperationOptions = { force: false, waitMs: 0, signal: new AbortController().signal };

type Run = (ports: OperationPorts) => Promise<unknown>;
const on: Run = (ports) => enable(ports, options);
const off: Run = (ports) => disable(ports, options);
const another: Run = (ports) => rotate(ports, options);

describe.each(['sqlite', 'mariadb'] as const)('an operation on %s', (kind) => {
  let server: RealServer;

  beforeAll(async () => {
    server = await startServer(kind);
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test.each([
    ['enable', off, on, 'on'],
    ['rotate', on, another, 'on'],
    ['disable', on, off, 'off'],
  ] as const)(
    '(%s) is finished by the same command after a death at any of its effects',
    { timeout: 300_000 },
    async (_, before, run, state) => {
      const host = (await server.newHost())(await server.newDatabase());
      await host.addMailboxes(2);
      const deaths = await eachDeath(async (life) => {
        await before(host.start());
        if (await life((fate) => run(host.start(fate)))) await run(host.start());
        const status = await host.status();
        expect(status).toMatchObject({ state, next_key_id: null, problem: null, waiting: 0 });
        expect(status.vault.key_ids).toEqual(state === 'on' ? [status.key_id] : []);
        expect(await host.openAll()).toEqual([password, password]);
      });
      expect(deaths).toBeGreaterThan(15);
    },
  );
});
