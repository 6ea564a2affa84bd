/**
 * Attacks on the forms of a mailbox: other origins, sessions of others, rows that a writer of the database changed
 * while the form was open, servers that answer with hostile texts, and a stolen session.
 */
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Connection } from '../../../src/ingest/model.ts';
import type { ProbeReport } from '../../../src/ingest/ports.ts';
import { signedIn } from '../../adapters/web/page-client.ts';
import { type MailboxPageScene, openMailboxPageScene, own } from '../../admin/mailboxes/mailbox-page-scene.ts';

const hostile = '"><script>alert(1)</script><b x="';
const password = 'Kupfer-und-Zinn-17';

const report: ProbeReport = {
  ...{ address: '192.0.2.1:993', mechanism: 'PLAIN', capabilities: [hostile], isReferred: false },
  certificate: { subject: hostile, issuer: hostile, validUntilMs: 2e12, fingerprint: 'a'.repeat(64) },
  folder: { uidValidity: 1, uidNext: 1, messageCount: 0 },
  ...{ folders: [hostile], leftOut: 1 },
};

let scene: MailboxPageScene;

beforeEach(async () => {
  scene = await openMailboxPageScene({ probe: async () => report });
});

afterEach(async () => await scene[Symbol.asyncDispose]());

const fields = (more: Record<string, string> = {}) => ({
  ...{ name: 'desk', host: 'mail.example', port: '', tls: 'implicit', trust: 'system', user: 'desk' },
  ...{ sign_in: 'password:', folder: 'INBOX', since: 'now', action: 'seen', probe: 'yes', password, ...more },
});

const add = (more: Record<string, string> = {}) => scene.form('mailbox/add', fields(more));
const names = async () => (await scene.app.store.listMailboxes()).map(({ name }) => name).sort();
const connection = async (): Promise<Connection | undefined> => (await scene.app.store.listMailboxes())[0]?.connection;

describe('a form that no page of this session sent', () => {
  const all: readonly (readonly [path: string, fields: Record<string, string>])[] = [
    ['mailbox/add', fields({ name: 'theirs' })],
    ...['set', 'password', 'test', 'pause', 'resume', 'remove'].map(
      (name) => [`mailbox/${name}`, fields({ typed_name: 'desk', own_password: own })] as const,
    ),
  ];

  test.each(all)('%s', async (path, sent) => {
    expect((await add()).status).toBe(303);
    const before = scene.logins.length;
    const form = { ...sent, ...(await scene.row('desk')) };
    const other = await signedIn({ address: scene.address });
    const post = (csrf: string, headers: Record<string, string> = {}) =>
      scene.ada.post(`/admin/${path}`, { csrf, ...form }, headers);
    const codes = [
      (await post('')).status,
      (await post('A'.repeat(43))).status,
      (await post(other.csrf === scene.ada.csrf ? '' : other.csrf)).status,
      (await post(scene.ada.csrf, { origin: 'http://evil.example' })).status,
      (await post(scene.ada.csrf, { origin: 'null' })).status,
      (await post(scene.ada.csrf, { 'sec-fetch-site': 'cross-site' })).status,
      (await post(scene.ada.csrf, { cookie: 'x=y' })).status,
    ];
    expect(codes).toEqual([403, 403, 403, 403, 403, 403, 303]);
    // Sent again after the sign-out of the session that it was made for.
    await scene.form('sign-out', {});
    expect((await post(scene.ada.csrf)).status).toBe(303);
    expect([await names(), scene.logins.length]).toEqual([['desk'], before]);
    expect((await scene.app.store.listMailboxes())[0]).toMatchObject({ state: 'active' });
  });
});

describe('a row that was changed while its form was open', () => {
  const elsewhere = `update mailboxes set host = 'evil.example' where name = 'desk'`;

  test.each([
    ['password', { password: 'new one', probe: 'yes' }],
    ['test', {}],
    ['pause', {}],
    ['set', fields({ interval: '60' })],
    ['remove', { typed_name: 'desk', own_password: own }],
  ])('%s is refused in one line, and nothing is sent to the new server', async (path, more) => {
    await add();
    const form = await scene.row('desk');
    const before = scene.logins.length;
    scene.sql(elsewhere);
    const { status, text } = await scene.form(`mailbox/${path}`, { ...(more as Record<string, string>), ...form });
    expect(status).toBe(422);
    expect(text).toContain('The mailbox was changed since the page was shown');
    expect([await names(), scene.logins.length]).toEqual([['desk'], before]);
  });

  test('also where the writer keeps the version, or gives the name to another row', async () => {
    await add();
    await add({ name: 'other', host: 'other.example' });
    const form = await scene.row('desk');
    const before = scene.logins.length;
    scene.sql(`create temp table was as select id, changed_at from mailboxes`);
    scene.sql(elsewhere);
    scene.sql(`update mailboxes set changed_at = (select changed_at from was where was.id = mailboxes.id)`);
    expect((await scene.form('mailbox/password', { ...form, password: 'x' })).status).toBe(422);
    scene.sql(`update mailboxes set name = 'gone' where name = 'desk'`);
    scene.sql(`update mailboxes set name = 'desk' where name = 'other'`);
    const remove = { ...form, typed_name: 'desk', own_password: own };
    expect((await scene.form('mailbox/remove', remove)).status).toBe(422);
    expect([await names(), scene.logins.length]).toEqual([['desk', 'gone'], before]);
  });

  test('the form of one mailbox does nothing to another', async () => {
    await add();
    await add({ name: 'other', host: 'other.example' });
    const { version } = await scene.row('desk');
    for (const path of ['pause', 'test', 'password'])
      expect((await scene.form(`mailbox/${path}`, { mailbox: 'other', version, password })).status).toBe(422);
  });
});

describe('a server that a writer of the database chose', () => {
  test('gets no new password unless a person says that it is theirs, and the page shows it', async () => {
    await scene.enable();
    await add();
    scene.sql(`update mailboxes set host = 'evil.example'`);
    const before = scene.logins.length;
    const { text } = await scene.ada.get('/admin/mailbox?name=desk');
    expect(text).toContain('A new password would be sent to');
    expect(text).toContain('desk at evil.example:993');
    const form = { ...(await scene.row('desk')), password: 'new one', probe: 'yes' };
    const refused = await scene.form('mailbox/password', form);
    expect([refused.status, refused.text]).toEqual([422, expect.stringContaining('was tampered with')]);
    const settings = await scene.form('mailbox/set', { ...fields({ host: 'evil.example' }), ...form });
    expect([settings.status, settings.text]).toEqual([422, expect.stringContaining('was tampered with')]);
    expect(scene.logins.length).toBe(before);
    // The stored password opens for its own server alone.
    const tested = await scene.form('mailbox/test', await scene.row('desk'));
    expect([tested.status, scene.logins.length]).toEqual([422, before]);
    expect((await scene.form('mailbox/password', { ...form, accept_server: 'yes' })).status).toBe(303);
    expect(scene.logins.at(-1)).toBe('desk@evil.example:993 new one');
  });
});

describe('a stolen session, without the password of the admin', () => {
  test('removes no mailbox, deletes no mail, and moves no stored password to another server', async () => {
    await add();
    const before = scene.logins.length;
    const row = await scene.row('desk');
    const attempts: readonly (readonly [path: string, more: Record<string, string>])[] = [
      ['mailbox/remove', { typed_name: 'desk' }],
      ['mailbox/remove', { typed_name: 'desk', own_password: 'guess' }],
      ['mailbox/set', fields({ action: 'delete' })],
      ['mailbox/set', fields({ host: 'evil.example', password: '' })],
      ['mailbox/set', fields({ user: 'else', password: '' })],
      ['mailbox/set', fields({ tls: 'none', allow_plaintext: 'yes', password: '' })],
    ];
    for (const [path, more] of attempts)
      expect([path, (await scene.form(path, { ...more, ...row })).status]).toEqual([path, 422]);
    expect([await names(), (await connection())?.host, scene.logins.length]).toEqual([
      ['desk'],
      'mail.example',
      before,
    ]);
  });
});

describe('texts of a server', () => {
  test('stay text: certificate, folders', async () => {
    await add();
    const { text } = await scene.form('mailbox/test', await scene.row('desk'));
    expect(text).toContain('&lt;script&gt;alert(1)');
    expect(text).not.toMatch(/<script>|<b x=/);
    expect(text).toContain('1 name with the password or token in it');
  });

  test('that does not speak IMAP are not in the page', async () => {
    await scene[Symbol.asyncDispose]();
    scene = await openMailboxPageScene();
    const banner = 'SSH-2.0-Gartenzwerg_9.2';
    const other = createServer((socket) => void socket.end(`${banner}\r\n`));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { readonly port: number };
    try {
      const got = await add({ host: '127.0.0.1', port: `${port}`, tls: 'none' });
      expect(got.status).toBe(422);
      expect(got.text).toContain('The test failed'.toLowerCase());
      expect(got.text).not.toContain('Gartenzwerg');
      expect(await names()).toEqual([]);
    } finally {
      other.close();
    }
  });
});

describe('the page as a port scanner', () => {
  test('tests one connection at a time, and 20 a minute', async () => {
    await scene[Symbol.asyncDispose]();
    const { promise: held, resolve: free } = Promise.withResolvers<void>();
    scene = await openMailboxPageScene({
      probe: async () => {
        await held;
        return report;
      },
    });
    const first = add();
    await expect.poll(() => scene.logins.length).toBe(1);
    const second = await add({ name: 'second' });
    expect([second.status, second.text]).toEqual([422, expect.stringContaining('Another connection is being tested')]);
    free();
    expect((await first).status).toBe(303);
    const codes: number[] = [];
    for (let index = 0; index < 20; index += 1) codes.push((await add({ name: `n${index}` })).status);
    expect(codes).toEqual([...Array.from({ length: 19 }, () => 303), 422]);
    expect(scene.logins.length).toBe(20);
  });
});
