/**
 * The page Server > Encryption over a real application: its view, the proof, a backup that is compared, and every
 * trouble.
 */
import { chmod, chown, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { thisWorker } from '../../../src/adapters/process/identity.ts';
import {
  createEncryptionService,
  type EncryptionService,
  type EncryptionServicePorts,
} from '../../../src/admin/encryption-service.ts';
import { createOperations } from '../../../src/admin/operations/operations.ts';
import type { Diagnostic, EncryptionView } from '../../../src/admin/service.ts';
import { type App, compose } from '../../../src/compose/compose.ts';
import { createEncryptionControl } from '../../../src/encryption/control.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import type { DatabaseServer } from '../../../src/encryption/remnants.ts';
import { createLog } from '../../../src/log.ts';
import { generateKey } from '../../../src/secret/key.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { type SwitchRow, sealSwitchRow } from '../../../src/secret/switch.ts';
import { by, plainNow, sampleMailbox } from '../../adapters/database/samples.ts';
import { type TestApp, testApp } from '../../support/app.ts';

const isRoot = process.geteuid?.() === 0;
const stranger = 54_321;
const configFile = "/etc/it's/ticketmaild.toml";
const withConfig = ` --config '/etc/it'\\''s/ticketmaild.toml'`;
const log = createLog({ level: 'error', pretty: false, destination: { write: () => undefined } });
const options = { force: false, waitMs: 0, signal: new AbortController().signal };
const silent = { step: () => undefined, passwords: () => undefined, workersWithoutKey: () => undefined };

const mariadb: DatabaseServer = {
  ...{
    product: 'mariadb',
    isUndoScrubbed: false,
    hasBinaryLog: true,
    redoLogBytes: 1,
    dirtyPagesPct: '90',
    dirtyPagesPctLwm: '0',
  },
};

let host: TestApp;
let app: App;
let service: EncryptionService;
let keyFile: string;
let proof: string;
let kept: AsyncDisposableStack;
let askedAgoMs: number;

beforeEach(async () => {
  kept = new AsyncDisposableStack();
  host = kept.use(await testApp(null));
  ({ app } = host);
  keyFile = join(host.config.dataDir, 'encryption-key.bin');
  proof = join(host.config.dataDir, 'can-disable-encryption.txt');
  askedAgoMs = 0;
  service = serviceOf(app);
});
afterEach(() => kept.disposeAsync());

function serviceOf(over: App, given: Partial<EncryptionServicePorts> = {}): EncryptionService {
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() - askedAgoMs };
  const parts = { ...over, worker: thisWorker(), log };
  const operations = createOperations({ ...parts, clock: systemClock }, new AbortController().signal);
  kept.use(operations.watch());
  const startDisable = (who: string) => operations.start('disable', who, true);
  const control = createEncryptionControl({ ...parts, clock, startDisable });
  const database = { kind: 'sqlite', path: '/data/ticketmaild.sqlite' } as const;
  return createEncryptionService({ ...parts, control, operations, configFile, user: 'root', database, ...given });
}

/** The application as after a restart: nothing of what was in memory. */
async function restarted(): Promise<{ app: App; service: EncryptionService }> {
  const again = kept.use(await compose(host.config, log));
  return { app: again, service: serviceOf(again) };
}

async function addMailboxes(count: number): Promise<void> {
  for (let added = 0; added < count; added += 1)
    await app.store.addMailbox(sampleMailbox(), await plainNow(app.store, 'p4ss'), null, by);
}

async function switchOn(): Promise<string> {
  const { keyId } = await enable(app.operation(silent), options);
  return keyId;
}

async function viewWhen(isSo: (view: EncryptionView) => boolean): Promise<EncryptionView> {
  for (const endMs = Date.now() + 15_000; ; ) {
    const view = await service.encryption();
    if (isSo(view)) return view;
    if (Date.now() > endMs) throw new Error(`it never came to that: ${JSON.stringify(view)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const hasEnded = ({ operation }: EncryptionView): boolean => operation !== null && operation.state !== 'running';

describe('the page', () => {
  test('while it is off shows what is there, and the commands with the configuration file', async () => {
    await addMailboxes(2);
    const view = await service.encryption();
    expect(view).toMatchObject({
      ...{ mode: 'off', diagnostics: [], operation: null, progress: null, unfinished: null, proofRequest: null },
      status: { state: 'off', plaintext: 2, sealed: 0 },
      keyFile: { path: keyFile, isProtected: false, keyIds: [] },
      ...{ backup: null, leftovers: [] },
      commands: {
        backup: `ticketmaild key backup ~/ticketmaild-key-copy.bin${withConfig}`,
        verify: `ticketmaild key verify ~/ticketmaild-key-copy.bin${withConfig}`,
        status: `ticketmaild encryption status${withConfig}`,
      },
    });
    const bare = serviceOf(app, { configFile: null, store: { ...app.store, databaseServer: async () => mariadb } });
    expect((await bare.encryption()).commands.status).toBe('ticketmaild encryption status');
    expect((await bare.encryption()).leftovers.join()).toContain('innodb_immediate_scrub_data_uncompressed');
  });

  test('switches on, rotates, and says what a backup must hold', async () => {
    await addMailboxes(2);
    expect(await service.verifyBackup(['0123456789abcdef'], 'ann')).toEqual({ kind: 'no_key' });
    expect(await service.startOperation('enable', 'ann')).toEqual({ kind: 'started' });
    const on = await viewWhen(hasEnded);
    expect(on).toMatchObject({ mode: 'on', progress: null, unfinished: null, status: { sealed: 2, plaintext: 0 } });
    expect(on.leftovers.join('\n')).toContain('/data/ticketmaild.sqlite');
    const [keyId = ''] = on.keyFile.keyIds;
    expect(on.status.key_id).toBe(keyId);
    expect(await service.verifyBackup(['0123456789abcdef', '<script>'], 'ann')).toEqual({
      kind: 'other',
      keyIds: [keyId],
      formerKeyIds: [],
    });
    expect((await service.encryption()).backup).toBeNull();
    expect(await service.verifyBackup(['0123456789abcdef', keyId], 'ben')).toEqual({ kind: 'same' });
    const backup = { by: 'ben (admin page)', keyIds: [keyId], atMs: expect.any(Number) };
    expect((await service.encryption()).backup).toEqual(backup);
    const audit = (await app.store.readAudit(5)).filter(({ action }) => action.startsWith('key.backup_'));
    expect(audit.map(({ action, who, detail }) => [action, who, detail])).toEqual([
      ['key.backup_verified', 'ben (admin page)', keyId],
      ['key.backup_differs', 'ann (admin page)', `lacks ${keyId}`],
    ]);
    await service.startOperation('rotate', 'ann');
    const rotated = await viewWhen((view) => hasEnded(view) && view.operation?.kind === 'rotate');
    expect(rotated).toMatchObject({ mode: 'on', backup: null, operation: { state: 'done' } });
    expect(await service.verifyBackup([keyId], 'ben')).toEqual({
      kind: 'former',
      keyIds: [rotated.status.key_id],
      formerKeyIds: [keyId],
    });
    expect((await service.encryption()).backup).toBeNull();
  });

  test('shows that a key file is protected, and its keys, also when it is locked', async () => {
    const keyId = await switchOn();
    using passphrase = SecretBytes.take(Buffer.from('correct horse'));
    await app.keyFile.protect(passphrase);
    const locked = await restarted();
    expect((await locked.service.encryption()).keyFile).toEqual({ path: keyFile, isProtected: true, keyIds: [] });
    expect(await locked.service.verifyBackup([keyId], 'ann')).toEqual({ kind: 'same' });
    const other = { kind: 'other', keyIds: [keyId], formerKeyIds: [] };
    expect(await locked.service.verifyBackup(['0123456789abcdef'], 'ann')).toEqual(other);
  });

  test('does not mistake another key file for the one in use', async () => {
    const keyId = await switchOn();
    const other = generateKey(app.operation(silent).random);
    await app.keyFile.replace([other]);
    const { service: there } = await restarted();
    expect(await there.verifyBackup([other.id], 'ann')).toEqual({ kind: 'other', keyIds: [keyId], formerKeyIds: [] });
  });
});

describe('switching off', () => {
  test('needs a proof file that exists, belongs to the daemon, and is newer than the request', async () => {
    await addMailboxes(2);
    await switchOn();
    expect(await service.confirmDisable('ann')).toMatchObject({
      sentence: expect.stringContaining('There is no pending request'),
    });
    await writeFile(proof, 'made too early');
    await utimes(proof, Date.now() / 1000 + 86_400, Date.now() / 1000 + 86_400);
    await untilTheClockMoves(proof);
    await service.requestDisable('ann');
    const { proofRequest } = await service.encryption();
    expect(proofRequest).toMatchObject({
      by: 'ann (admin page)',
      path: proof,
      command: `touch ${proof}`,
      checks: null,
    });
    expect((proofRequest?.expiresAtMs ?? 0) - (proofRequest?.requestedAtMs ?? 0)).toBe(15 * 60_000);
    expect(await refusal()).toContain('is older than this request');
    expect(await checks()).toMatchObject([{ ok: true }, { ok: true }, { name: 'newer', ok: false }]);
    await rm(proof);
    expect(await refusal()).toContain('does not exist: create it with touch');
    expect(await checks()).toMatchObject([{ name: 'exists', ok: false }, { ok: false, why: null }, { ok: false }]);
    await symlink(keyFile, proof);
    expect(await refusal()).toContain('is a symbolic link');
    await rm(proof);
    await writeFile(proof, '');
    await chmod(proof, 0o666);
    expect(await refusal()).toContain('can be changed by others');
    expect((await checks())?.[1]?.why).toMatch(/mode is 0666\. Close it: chmod 600 .*can-disable-encryption\.txt$/);
    if (isRoot) {
      await chmod(proof, 0o600);
      await chown(proof, stranger, stranger);
      expect(await refusal()).toContain(`belongs to user ${stranger}`);
      expect(await checks()).toMatchObject([{ ok: true }, { name: 'owner', ok: false }, { ok: true }]);
      await chown(proof, 0, 0);
    }
    expect(await app.store.readSwitch()).toMatchObject({ row: { state: 'on' }, hasPlaintext: false });
    await chmod(proof, 0o600);
    expect(await service.confirmDisable('ben')).toEqual({ kind: 'started' });
    expect(await viewWhen(hasEnded)).toMatchObject({
      mode: 'off',
      proofRequest: null,
      status: { plaintext: 2, sealed: 0 },
    });
    await expect(stat(proof)).rejects.toThrow('ENOENT');
  });

  async function refusal(): Promise<string> {
    const answer = await service.confirmDisable('ann');
    return answer.kind === 'refused' ? answer.sentence : '';
  }

  async function checks() {
    return (await service.encryption()).proofRequest?.checks;
  }

  /** File times are coarser than the clock. */
  async function untilTheClockMoves(path: string): Promise<void> {
    const { ctimeMs } = await stat(path);
    while (Date.now() <= ctimeMs + 20) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  test('expires after 15 minutes, when it is withdrawn, and while encryption is off', async () => {
    await service.requestDisable('ann');
    expect((await service.encryption()).proofRequest).toBeNull();
    await switchOn();
    await service.requestDisable('ann');
    await service.cancelDisable('ben');
    expect((await service.encryption()).proofRequest).toBeNull();
    askedAgoMs = 16 * 60_000;
    await service.requestDisable('ann');
    askedAgoMs = 0;
    await writeFile(proof, '');
    expect((await service.encryption()).proofRequest).toBeNull();
    expect(await service.confirmDisable('ann')).toMatchObject({ kind: 'refused' });
    expect(await app.store.readSwitch()).toMatchObject({ row: { state: 'on' } });
  });

  test('works with the key in memory while the key file is lost', async () => {
    await addMailboxes(1);
    await switchOn();
    await rm(keyFile);
    await service.requestDisable('ann');
    await writeFile(proof, '');
    await stat(proof);
    let answer = await service.confirmDisable('ann');
    // The times of a disk are coarse.
    for (const endMs = Date.now() + 5000; answer.kind === 'refused' && Date.now() < endMs; ) {
      await writeFile(proof, '');
      answer = await service.confirmDisable('ann');
    }
    expect(answer).toEqual({ kind: 'started' });
    expect(await viewWhen(hasEnded)).toMatchObject({
      mode: 'off',
      operation: { state: 'done' },
      status: { plaintext: 1 },
    });
  });
});

describe('what is wrong', () => {
  const putBack = () => `install -o root -m 600 /PATH/encryption-key.bin ${keyFile}`;

  async function diagnostics(at: EncryptionService = service): Promise<readonly Diagnostic[]> {
    const all = (await at.encryption()).diagnostics;
    for (const { title, description, unaffected, remedy } of all)
      for (const text of [title, description, unaffected, remedy]) expect(text).not.toMatch(/^$|undefined|null/);
    return all;
  }

  test('is nothing while it is on and well', async () => {
    await switchOn();
    expect(await diagnostics()).toEqual([]);
  });

  test('a key file that is missing: what waits, how it is put back, and the last resort', async () => {
    await addMailboxes(2);
    await switchOn();
    await rm(keyFile);
    const [missing, ...more] = await diagnostics((await restarted()).service);
    expect(missing).toMatchObject({ title: 'The key file is missing', command: putBack() });
    expect(missing?.description).toContain(`there is no key file at ${keyFile}`.slice(1));
    expect(missing?.remedy).toContain(`ticketmaild encryption replace-lost-key${withConfig}`);
    // That both mailboxes wait has the same cause, and is no diagnostic of its own.
    expect(missing?.unaffected).toContain('No mailbox: each waits for the key.');
    expect(more).toEqual([]);
  });

  test('a key file that is refused: for its mode, for another key in it, and while it is off', async () => {
    await addMailboxes(1);
    await switchOn();
    const content = await readFile(keyFile);
    await chmod(keyFile, 0o644);
    const [open] = await diagnostics((await restarted()).service);
    expect(open).toMatchObject({ title: 'The key file cannot be used', command: `chmod 600 ${keyFile}` });
    await chmod(keyFile, 0o600);
    await app.keyFile.replace([generateKey(app.operation(silent).random)]);
    const [other] = await diagnostics((await restarted()).service);
    expect(other).toMatchObject({ title: 'The key file cannot be used', command: putBack() });
    expect(other?.description).toContain('lacks key');
    await writeFile(keyFile, content.subarray(0, 31));
    const [short] = await diagnostics((await restarted()).service);
    expect(short).toMatchObject({ title: 'The key file cannot be used' });
  });

  test('a key file that is refused while encryption is off stops no mailbox', async () => {
    await writeFile(keyFile, 'x'.repeat(31), { mode: 0o600 });
    const [bad] = await diagnostics();
    expect(bad?.unaffected).toContain('mail is fetched as before. Encryption cannot be enabled');
  });

  test('a key file that is locked', async () => {
    await switchOn();
    using passphrase = SecretBytes.take(Buffer.from('correct horse'));
    await app.keyFile.protect(passphrase);
    const [locked] = await diagnostics((await restarted()).service);
    expect(locked).toMatchObject({ title: 'The key file is locked', command: `ticketmaild key show${withConfig}` });
    expect(locked?.remedy).toContain('passphrase_file');
  });

  test('a key that exists only in memory: this daemon must not be restarted, and the recovery', async () => {
    await switchOn();
    expect(await diagnostics()).toEqual([]);
    await rm(keyFile);
    const [orphaned] = await diagnostics();
    expect(orphaned).toMatchObject({
      title: 'The key exists only in memory',
      command: `ticketmaild key recover${withConfig}`,
    });
    expect(orphaned?.unaffected).toContain('Do not restart it');
  });

  async function storedSwitch(): Promise<SwitchRow> {
    const { row } = await app.store.readSwitch();
    if (row === null) throw new Error('there is no switch');
    return row;
  }

  test('a switch that is forged, that went back, whose key is not here', async () => {
    const first = await storedSwitch();
    await switchOn();
    await diagnostics();
    const row = await storedSwitch();
    const accept = `ticketmaild encryption trust-restored${withConfig}`;
    await app.store.writeSwitch({ ...row, state: 'off', keyId: null, revision: 9 }, row.revision, []);
    const [forged] = await diagnostics();
    expect(forged).toMatchObject({ title: 'The encryption switch is forged', command: accept });
    expect(forged?.unaffected).toContain('stays in force');
    expect(await service.encryption()).toMatchObject({ mode: 'on', status: { state: 'on', stored_state: 'off' } });
    await app.store.writeSwitch(first, 9, []);
    expect((await diagnostics())[0]).toMatchObject({ title: 'The encryption switch was rolled back', command: accept });
    const foreign = generateKey(app.operation(silent).random);
    const { seal: _, ...change } = { ...row, keyId: foreign.id, revision: 10 };
    await app.store.writeSwitch(sealSwitchRow(change, foreign), first.revision, []);
    expect((await diagnostics())[0]).toMatchObject({ title: 'The key of the switch is missing', command: putBack() });
  });

  test('a switch state file that is damaged', async () => {
    await switchOn();
    await writeFile(join(host.config.dataDir, 'switch-state'), '{}');
    const [damaged] = await diagnostics();
    expect(damaged).toMatchObject({ title: 'The switch state file is damaged' });
    expect(damaged?.command).toBe(`ticketmaild encryption trust-restored${withConfig}`);
  });

  test('plain-text passwords although it is on', async () => {
    await switchOn();
    await addMailboxes(1);
    const [plainly] = await diagnostics();
    expect(plainly).toMatchObject({ command: `ticketmaild encryption reseal${withConfig}` });
    expect(plainly?.description).toBe('1 password in plain text although encryption is on.');
  });

  test('workers that lack the key: no command contains a name from the database', async () => {
    await switchOn();
    const report = { pid: 7, keyIds: [], vault: 'missing', revision: 1 };
    await app.store.reportWorker({ ...report, worker: 'evil/1/1/7/0', host: 'evil.example' });
    const [lacking, ...more] = await diagnostics();
    expect(more).toEqual([]);
    expect(lacking).toMatchObject({
      title: 'Workers lack the key',
      command: `scp -p ${keyFile} HOST:${keyFile}`,
    });
    expect(lacking?.description).toContain('evil.example (pid 7)');
    await app.store.reportWorker({ ...report, worker: 'evil/1/1/7/0', host: app.actor.host });
    expect((await diagnostics())[0]?.command).toBe(`ticketmaild encryption status${withConfig}`);
    await app.store.removeWorker('evil/1/1/7/0');
    await app.store.reportWorker({ ...report, worker: thisWorker().name, host: app.actor.host });
    expect(await diagnostics()).toEqual([]);
  });
});
