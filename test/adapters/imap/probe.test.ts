/**
 * Probe: read-only, reports its steps.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ProbeReport } from '../../../src/ingest/ports.ts';
import { failureOf } from '../../support/promises.ts';
import { readDialogue } from '../../support/servers/dialogues/dialogue.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { startScriptedServer } from './scripted-server.ts';
import { connectionTo, credential, mail, openSession, plainTo, secret, sessions } from './setting.ts';

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot[Symbol.asyncDispose]());

async function probed(connection: ReturnType<typeof plainTo>): Promise<{ report: ProbeReport; steps: string[] }> {
  const steps: string[] = [];
  const report = await sessions.probe(connection, credential(), (step) => steps.push(step));
  return { report, steps };
}

test.each(['implicit', 'starttls'] as const)('a probe with --tls %s reports its steps and results', async (tls) => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'Büro', [mail('a'), mail('b')]);
  const { report, steps } = await probed(connectionTo(dovecot, user, { tls, folder: 'Büro' }));
  expect(steps).toEqual(['name', 'connect', 'tls', 'login', 'folder']);
  expect(report).toMatchObject({
    address: `127.0.0.1:${tls === 'implicit' ? dovecot.tlsPort : dovecot.port}`,
    certificate: {
      subject: 'CN=localhost',
      issuer: 'CN=Test authority',
      fingerprint: dovecot.fingerprint.replaceAll(':', '').toLowerCase(),
    },
    folder: { uidNext: 3, messageCount: 2 },
  });
  expect(report.certificate?.validUntilMs).toBeGreaterThan(Date.now());
  expect(report.capabilities).toContain('UIDPLUS');
  expect(report.folders).toEqual(expect.arrayContaining(['INBOX', 'Büro']));
});

test('a probe in clear has no certificate, and an address needs no name', async () => {
  const { report, steps } = await probed(connectionTo(dovecot, 'ada', { tls: 'none', host: '127.0.0.1' }));
  expect(report.certificate).toBeNull();
  expect(steps).toEqual(['name', 'connect', 'login', 'folder']);
});

test('a probe changes neither flags nor numbers', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a'), mail('b')]);
  const look = async (): Promise<unknown> => {
    await using session = await openSession(connectionTo(dovecot, user));
    return [session.folder, await dovecot.listFlags(user, 'INBOX')];
  };
  const before = await look();
  await probed(connectionTo(dovecot, user));
  expect(await look()).toEqual(before);
});

test('a probe sends nothing that could change a server', async () => {
  await using server = await startScriptedServer();
  await probed(plainTo(server.port));
  const commands = new Set(server.lines.map((line) => line.split(' ')[1]).filter((word) => word !== undefined));
  const harmless = ['CAPABILITY', 'AUTHENTICATE', 'LIST', 'LSUB', 'EXAMINE', 'LOGOUT'];
  expect([...commands].filter((command) => !harmless.includes(command))).toEqual([]);
});

test('a probe of a missing folder names the folders that are there', async () => {
  const user = dovecot.newUser();
  await dovecot.createFolder(user, 'Заявки');
  const missing = failureOf(
    sessions.probe(connectionTo(dovecot, user, { folder: 'no' }), credential(), () => undefined),
  );
  expect(await missing).toMatchObject({
    code: 'folder_missing',
    fields: { folders: expect.stringContaining('Заявки') },
  });
});

test('INBOX is among the folders where the server lists only those below its prefix', async () => {
  await using server = await startScriptedServer(await readDialogue('inbox-beside-namespace'));
  const { report } = await probed(plainTo(server.port));
  expect(report.folders).toEqual(['INBOX', 'INBOX.Sent']);
  const missing = failureOf(sessions.probe(plainTo(server.port, { folder: 'Tickets' }), credential(), () => undefined));
  expect(await missing).toMatchObject({ code: 'folder_missing', fields: { folders: 'INBOX, INBOX.Sent' } });
});

test.each([
  ['a pin of another', { fingerprint: '0'.repeat(64) }, 'tls_pin_mismatch'],
  ['no authority', {}, 'tls_untrusted'],
] as const)('a certificate that contains the password is shown without it: %s', async (_, more, code) => {
  const to = connectionTo(dovecot, 'ada', { caPem: null, ...more });
  const refused = async (password: string) =>
    await failureOf(sessions.probe(to, credential(secret(password)), () => undefined));
  expect(await refused('pw')).toMatchObject({ code, fields: { subject: 'CN=localhost', issuer: 'CN=Test authority' } });
  const { fields } = await refused('test-AUTHORITY');
  expect(fields).toMatchObject({ subject: 'CN=localhost', issuer: expect.stringContaining('not shown') });
});

test('a probe ends at the step that fails', async () => {
  const steps: string[] = [];
  const told = (step: string): void => void steps.push(step);
  await failureOf(sessions.probe(connectionTo(dovecot, 'ada', { caPem: null }), credential(), told));
  expect(steps).toEqual(['name', 'connect', 'tls']);
});
