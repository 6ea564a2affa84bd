/**
 * TLS trust: no byte of IMAP before the certificate is accepted.
 */
import { readFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Connection } from '../../../src/ingest/model.ts';
import { isServerFailure } from '../../../src/ingest/poll/server-failures.ts';
import { failureOf } from '../../support/promises.ts';
import { type CertificateKind, readCertificates } from '../../support/servers/authority.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { freePort } from '../../support/servers/programs.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';
import { converse, type ScriptedServer, startScriptedServer } from './scripted-server.ts';
import { connectionTo, openHastily, openSession, plainTo } from './setting.ts';

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot[Symbol.asyncDispose]());

const modes = ['implicit', 'starttls'] as const;

/** The fingerprint as a mailbox keeps it. */
function pin(shown: string): string {
  return shown.replaceAll(':', '').toLowerCase();
}

/** A server with the certificate of `kind`, and all lines that it receives, before and inside TLS. */
async function startTlsServer(
  kind: CertificateKind,
  tls: 'implicit' | 'starttls',
): Promise<ScriptedServer & { pin: string }> {
  const files = await readCertificates(await certificatesTemplate(), kind);
  const [cert, key] = await Promise.all([readFile(files.certificateFile), readFile(files.keyFile)]);
  const server = await startScriptedServer({}, (socket, lines) => {
    const secure = (): void => {
      const inside = new TLSSocket(socket, { isServer: true, cert, key });
      converse(inside, { greeting: tls === 'implicit' ? '* OK ready' : '' }, lines);
    };
    if (tls === 'implicit') {
      secure();
      return;
    }
    socket.write('* OK ready\r\n');
    socket.on('error', () => socket.destroy());
    const plain = (chunk: Buffer): void => {
      const line = chunk.toString('latin1').trimEnd();
      lines.push(line);
      const [tag, command] = line.split(' ');
      if (command === 'CAPABILITY') socket.write('* CAPABILITY IMAP4rev1 STARTTLS\r\n');
      socket.write(`${tag} OK\r\n`);
      if (command !== 'STARTTLS') return;
      socket.off('data', plain);
      secure();
    };
    socket.on('data', plain);
  });
  return Object.assign(server, { pin: pin(files.fingerprint) });
}

function to(server: ScriptedServer, tls: 'implicit' | 'starttls', more: Partial<Connection>): Connection {
  return plainTo(server.port, { tls, ...more });
}

test.each(modes)('with --tls %s an unknown authority is tls_untrusted', async (tls) => {
  expect(await failureOf(openSession(connectionTo(dovecot, 'ada', { tls, caPem: null })))).toMatchObject({
    code: 'tls_untrusted',
    fields: { valid_until: expect.stringMatching(/^20\d\d-/) },
  });
});

test.each(modes)('with --tls %s a certificate for another name is tls_name_mismatch', async (tls) => {
  await using server = await startTlsServer('other_name', tls);
  const refused = await failureOf(openSession(to(server, tls, { caPem: dovecot.caPem })));
  expect(refused.code).toBe('tls_name_mismatch');
});

test.each(modes)('with --tls %s an expired certificate is tls_expired', async (tls) => {
  await using server = await startTlsServer('expired', tls);
  const refused = await failureOf(openSession(to(server, tls, { caPem: dovecot.caPem })));
  expect(refused.code).toBe('tls_expired');
  // The one that is presented now, whatever was accepted before.
  expect(Date.parse(String(refused.fields['valid_until']))).toBeLessThan(Date.now());
});

test.each(modes)('with --tls %s an address is checked against the addresses in the certificate', async (tls) => {
  await using session = await openSession(connectionTo(dovecot, dovecot.newUser(), { tls, host: '127.0.0.1' }));
  expect(session.folder.uidNext).toBe(1);
});

test.each(modes)('with --tls %s the pinned certificate is trusted, whatever its name, date and issuer', async (tls) => {
  for (const kind of ['good', 'expired', 'other_name'] as const) {
    await using server = await startTlsServer(kind, tls);
    await using session = await openSession(to(server, tls, { fingerprint: server.pin }));
    expect(session.folder.messageCount).toBe(3);
  }
});

test.each(modes)(
  'with --tls %s another certificate than the pinned one is refused before a word is said',
  async (tls) => {
    await using server = await startTlsServer('good', tls);
    const wrong = '0'.repeat(64);
    // The authority is right, and does not help.
    const refused = await failureOf(openSession(to(server, tls, { fingerprint: wrong, caPem: dovecot.caPem })));
    expect(refused).toMatchObject({ code: 'tls_pin_mismatch', fields: { pinned: wrong, shown: server.pin } });
    expect(Object.keys(refused.fields)).not.toContain('subject');
    expect(Object.keys(refused.fields)).not.toContain('issuer');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const said = server.lines.map((line) => line.replace(/^\S+ /, ''));
    expect(said).toEqual(tls === 'implicit' ? [] : ['CAPABILITY', 'STARTTLS']);
  },
);

test('an untrusted certificate also closes the connection before any IMAP data', async () => {
  await using server = await startTlsServer('good', 'implicit');
  expect((await failureOf(openSession(to(server, 'implicit', {})))).code).toBe('tls_untrusted');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(server.lines).toEqual([]);
});

test('a port that answers without TLS is to be used with STARTTLS', async () => {
  await using server = await startScriptedServer();
  expect(await failureOf(openSession(plainTo(server.port, { tls: 'implicit' })))).toMatchObject({
    code: 'tls_failed',
    message: 'The TLS handshake with the server failed.',
    hint: 'The port answers without TLS: try --tls starttls.',
  });
});

test('a CA file without a certificate is reported as such', async () => {
  const refused = await failureOf(openSession(connectionTo(dovecot, 'ada', { caPem: 'nonsense' })));
  expect(refused.code).toBe('tls_untrusted');
});

test('a server without STARTTLS is starttls_missing and gets no login', async () => {
  await using server = await startScriptedServer();
  expect((await failureOf(openSession(plainTo(server.port, { tls: 'starttls' })))).code).toBe('starttls_missing');
  expect(server.lines.filter((line) => /LOGIN|AUTH/.test(line))).toEqual([]);
});

test('a server that refuses the STARTTLS it offered, or greets as logged in already, is starttls_missing', async () => {
  const script = (command: string, _rest: string, tag: string, { say }: { say(line: string): void }): boolean => {
    if (command === 'STARTTLS') say(`${tag} NO not today`);
    return command === 'STARTTLS';
  };
  for (const greeting of ['* OK ready', '* PREAUTH welcome']) {
    await using server = await startScriptedServer({ greeting, capabilities: 'IMAP4rev1 STARTTLS', script });
    expect((await failureOf(openSession(plainTo(server.port, { tls: 'starttls' })))).code).toBe('starttls_missing');
  }
});

test('TLS to a port in clear is tls_failed', async () => {
  expect((await failureOf(openSession(connectionTo(dovecot, 'ada', { port: dovecot.port })))).code).toBe('tls_failed');
});

test.each<[string, (socket: Socket) => void]>([
  ['at once', (socket) => socket.destroy()],
  ['once we have spoken', (socket) => void socket.once('data', () => socket.destroy())],
])(
  'a server that breaks the handshake off %s is tls_failed, and that is the trouble of all its mailboxes',
  async (_, serve) => {
    await using server = await startScriptedServer({}, serve);
    const broken = await failureOf(openSession(to(server, 'implicit', {})));
    expect(broken).toMatchObject({ code: 'tls_failed', fields: { stage: 'tls' } });
    expect(isServerFailure(broken)).toBe(true);
  },
);

test('plain text to a TLS port, where neither side speaks first, ends at the deadline', async () => {
  const refused = await failureOf(openHastily(plainTo(dovecot.tlsPort)));
  expect(refused.code).toBe('connect_timeout');
});

test('TLS older than 1.2 is not spoken', async () => {
  const files = await readCertificates(await certificatesTemplate());
  const [cert, key] = await Promise.all([readFile(files.certificateFile), readFile(files.keyFile)]);
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  const server = createServer((socket) => {
    new TLSSocket(socket, { isServer: true, cert, key, ...old }).on('error', () => socket.destroy());
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const refused = await failureOf(openSession(plainTo(port, { tls: 'implicit', fingerprint: pin(files.fingerprint) })));
  server.close();
  expect(refused.code).toBe('tls_failed');
});
