/**
 * Operations on a real database, key file and state file.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { disable } from '../../../src/encryption/operations/disable.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import type { OperationOptions } from '../../../src/encryption/operations/operation.ts';
import { reseal, rotate } from '../../../src/encryption/operations/rotate.ts';
import { trustRestored } from '../../../src/encryption/operations/trust-restored.ts';
import { initialSwitchRow } from '../../../src/secret/switch.ts';
import { password, type RealServer, startServer } from './real-host.ts';

const options: OperationOptions = { force: false, waitMs: 0, signal: new AbortController().signal };

describe.each(['sqlite', 'mariadb'] as const)('the operations on %s', (kind) => {
  let server: RealServer;

  beforeAll(async () => {
    server = await startServer(kind);
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('run through: on, a new key, everything resealed, off, and on again', async () => {
    const host = (await server.newHost())(await server.newDatabase());
    const { start } = host;
    await host.addMailboxes(3);
    const on = await enable(start(), options);
    expect(on).toMatchObject({ createdKeyFile: true, sealed: 3, wasOn: false });
    expect(await host.status()).toMatchObject({ state: 'on', sealed: 3, plaintext: 0, vault: { key_ids: [on.keyId] } });
    await host.addMailboxes(1);
    const rotated = await rotate(start(), options);
    expect(rotated).toMatchObject({ formerKeyId: on.keyId, resealed: 3, unopened: [], isFormerKeyKept: false });
    const { keyId } = rotated;
    expect(await host.status()).toMatchObject({ sealed: 4, by_key: [{ key_id: keyId, count: 4 }], revision: 5 });
    expect(await host.openAll()).toEqual([password, password, password, password]);
    expect(await reseal(start(), options)).toMatchObject({ resealed: 0, sealed: 0, droppedKeyIds: [] });
    expect(await disable(start(), options)).toMatchObject({ unsealed: 4, setAside: expect.any(String) });
    const off = { state: 'off', sealed: 0, plaintext: 4, problem: null, vault: { state: 'closed' } };
    expect(await host.status()).toMatchObject(off);
    expect(await host.openAll()).toEqual([password, password, password, password]);
    const again = await enable(start(), options);
    expect(again).toMatchObject({ createdKeyFile: true, sealed: 4 });
    expect([on.keyId, keyId]).not.toContain(again.keyId);
    expect(await host.openAll()).toEqual([password, password, password, password]);
  });

  test('trust a backup from before encryption was enabled', async () => {
    const folder = await server.newHost();
    const before = folder(await server.newDatabase());
    await before.addMailboxes(2);
    await enable(before.start(), options);
    const host = folder(await server.newDatabase());
    await host.addMailboxes(2);
    expect((await host.status()).problem?.code).toBe('switch_rolled_back');
    await expect(enable(host.start(), options)).rejects.toMatchObject({ code: 'switch_rolled_back' });
    const { found, trusted, counts } = await trustRestored(host.start(), { acceptOff: true });
    expect(found).toEqual({ ...initialSwitchRow, changedAtMs: expect.any(Number) });
    expect(trusted).toMatchObject({ state: 'off', revision: 3 });
    expect(counts).toMatchObject({ sealed: 0, plaintext: 2 });
    expect(await enable(host.start(), options)).toMatchObject({ sealed: 2, createdKeyFile: false });
    expect(await host.openAll()).toEqual([password, password]);
  });
});
