/**
 * Mailboxes by the forms of the page, on a real Dovecot: add with the probe, settings, new password, pause, resume,
 * test, remove; what is refused changes nothing.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createProbeRunner } from '../../../src/admin/mailboxes/probe-runner.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { fieldsOf, type MailboxPageScene, openMailboxPageScene, own } from './mailbox-page-scene.ts';

let dovecot: Dovecot;
let scene: MailboxPageScene;
let user: string;

beforeAll(async () => {
  dovecot = await startDovecot();
  // More probes than a minute allows.
  let minutes = 0;
  const monotonicMs = () => {
    minutes += 1;
    return minutes * 60_000;
  };
  scene = await openMailboxPageScene({ probes: createProbeRunner({ ...systemClock, monotonicMs }) });
});

afterAll(async () => {
  await scene?.[Symbol.asyncDispose]();
  await dovecot?.[Symbol.asyncDispose]();
});

let count = 0;
let name: string;

beforeEach(async () => {
  count += 1;
  name = `desk ${count}`;
  user = dovecot.newUser();
  await dovecot.createFolder(user, 'INBOX');
});

async function addForm(more: Record<string, string> = {}): Promise<Record<string, string>> {
  const { text } = await scene.ada.get('/admin/mailboxes/add');
  const server = { host: 'localhost', port: `${dovecot.tlsPort}`, trust: 'pin', fingerprint: dovecot.fingerprint };
  return { ...fieldsOf(text, 'mailbox/add'), name, user, ...server, password: 'pw', ...more };
}

async function added(more: Record<string, string> = {}): Promise<void> {
  const got = await scene.form('mailbox/add', await addForm(more));
  if (got.status !== 303) throw new Error(got.text.slice(got.text.indexOf('<main'), 6_000));
}

async function settings(more: Record<string, string>): Promise<string> {
  const { text } = await scene.ada.get(`/admin/mailbox/settings?${new URLSearchParams({ name })}`);
  const got = await scene.form('mailbox/set', { ...fieldsOf(text, 'mailbox/set'), ...more });
  return got.status === 303 ? flashAt(got.headers.location ?? '') : mainOf(got.text);
}

async function flashAt(path: string): Promise<string> {
  return /<div class="flash[^>]*><p>(.*?)<\/p>/s.exec((await scene.ada.get(path)).text)?.[1] ?? '';
}

/** Without tags. */
function mainOf(html: string): string {
  return (/<main[^>]*>(.*)<\/main>/s.exec(html)?.[1] ?? '').replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ');
}

const stored = async () => (await scene.app.store.listMailboxes()).find((one) => one.name === name) ?? null;

describe('a new mailbox', () => {
  test('is probed and stored, with the first cursor and an audit row of the admin', async () => {
    await dovecot.append(user, 'INBOX', [Buffer.from('Subject: old\r\n\r\nx\r\n')]);
    const got = await scene.form('mailbox/add', await addForm({ addresses: 'Desk@example.org, help@example.org' }));
    expect([got.status, got.headers.location]).toEqual([303, `/admin/mailbox?${new URLSearchParams({ name })}`]);
    expect(await flashAt(got.headers.location ?? '')).toBe(`${name} is added.`);
    const mailbox = await stored();
    expect(mailbox).toMatchObject({ addresses: ['desk@example.org', 'help@example.org'], state: 'active' });
    expect(mailbox?.health.cursor).toMatchObject({ uid: 1 });
    const [entry] = await scene.app.store.readAudit(1);
    expect(entry).toMatchObject({ action: 'password.set', who: 'ada (admin page)', mailboxId: mailbox?.id });
  });

  test('is not stored when the server refuses the login; the form keeps what was typed, but no password', async () => {
    const password = 'Rost-und-Moos-88';
    const got = await scene.form('mailbox/add', await addForm({ password }));
    expect(got.status).toBe(422);
    const main = mainOf(got.text);
    for (const line of ['passed Name resolution', 'passed Certificate', 'failed Login', 'not reached Folder'])
      expect(main).toContain(line);
    expect(fieldsOf(got.text, 'mailbox/add')).toMatchObject({ name, user, fingerprint: dovecot.fingerprint });
    expect(got.text).not.toContain(password);
    expect(await stored()).toBeNull();
  });

  test('shows the certificate that is not trusted, and pins it with one box', async () => {
    const got = await scene.form('mailbox/add', await addForm({ trust: 'system', fingerprint: '' }));
    const pin = dovecot.fingerprint.replaceAll(':', '').toLowerCase();
    const main = mainOf(got.text);
    expect(main).toMatch(new RegExp(`failed Certificate .*Certificate of CN=.*Issued by .*Valid until .*${pin}`));
    expect(await stored()).toBeNull();
    const fields = fieldsOf(got.text, 'mailbox/add');
    expect(fields).toMatchObject({ fingerprint: pin, name });
    expect(fields).not.toHaveProperty('accept_certificate');
    const pinned = await scene.form('mailbox/add', { ...fields, accept_certificate: 'yes', password: 'pw' });
    expect(pinned.status).toBe(303);
    expect((await stored())?.connection.fingerprint).toBe(pin);
  });

  test('names the folders that there are, when its own is not one', async () => {
    await dovecot.createFolder(user, 'Tickets');
    const got = await scene.form('mailbox/add', await addForm({ folder: 'Tikets' }));
    expect(mainOf(got.text)).toMatch(/failed Folder .*Folders there .*Tickets/);
    expect(await stored()).toBeNull();
  });

  test.each([
    [{ name: ' ' }, 'Missing: Name'],
    [{ host: 'imaps://mail.example' }, 'Server must be a host name'],
    [{ port: '99999' }, 'Port must be a whole number'],
    [{ action: 'move', target: '' }, 'Afterwards must be'],
    [{ action: 'move', target: 'inbox' }, 'must move to another folder'],
    [{ interval: '0' }, 'Interval must be'],
    [{ addresses: 'absent' }, 'Addresses must be a mail address'],
    [{ password: '' }, 'The password of the mailbox is needed'],
    [{ password: 'x'.repeat(1025) }, 'A password has 1 to 1024 bytes'],
    [{ trust: 'authorities', authorities: 'no certificate\r\nat all' }, 'Authorities'],
    [{ since: 'tomorrow' }, 'Messages must be now, all'],
    [{ tls: 'none', trust: 'system', host: 'mail.example' }, 'which is another machine'],
    [{ action: 'delete' }, 'takes your own password'],
    [{ action: 'delete', own_password: 'not mine' }, 'Your own password is wrong'],
  ])('with %j is refused in one line, before any server is asked', async (more, text) => {
    const before = scene.logins.length;
    const got = await scene.form('mailbox/add', await addForm(more as Record<string, string>));
    expect(got.status).toBe(422);
    const [, error = ''] = /<p class="error"[^>]*>(.*?)<\/p>/s.exec(got.text) ?? [];
    expect(error.replace(/<[^>]*>/g, '')).toContain(text);
    expect(error).not.toMatch(/--[a-z]/);
    expect([await stored(), scene.logins.length]).toEqual([null, before]);
  });

  test('of a name that is taken but for its case is refused', async () => {
    await added();
    const got = await scene.form('mailbox/add', await addForm({ name: name.toUpperCase() }));
    expect(mainOf(got.text)).toContain('exists already');
  });

  test('deletes on the server with the password of the admin, and trusts an authority that was pasted', async () => {
    const more = { trust: 'authorities', authorities: dovecot.caPem, action: 'delete', own_password: own };
    await added(more);
    expect(await stored()).toMatchObject({ postAction: { kind: 'delete' } });
    expect((await stored())?.connection.caPem).toContain('BEGIN CERTIFICATE');
  });
});

describe('settings', () => {
  test('of a folder are probed with the stored password, and others take no login', async () => {
    await added();
    await dovecot.createFolder(user, 'Sales');
    const before = scene.logins.length;
    expect(await settings({ interval: '90', addresses: 'a@example.org' })).toBe(
      `${name} is changed (interval, addresses).`,
    );
    expect(scene.logins.length).toBe(before);
    expect(await settings({ folder: 'Sales' })).toBe(`${name} is changed (folder).`);
    expect(scene.logins.slice(before)).toEqual([`${user}@localhost:${dovecot.tlsPort} pw`]);
    expect(await stored()).toMatchObject({ pollIntervalMs: 90_000, addresses: ['a@example.org'] });
    expect(await settings({ folder: 'Nowhere' })).toContain('failed Folder');
    expect((await stored())?.connection.folder).toBe('Sales');
    expect(await settings({})).toContain('has these settings already');
  });

  test.each([
    ['host', { host: '127.0.0.1' }],
    ['port', { port: '1' }],
    ['user', { user: 'other' }],
    ['trust', { trust: 'pin', fingerprint: '0'.repeat(64) }],
    ['encryption', { tls: 'none', allow_plaintext: 'yes', trust: 'system' }],
  ])('another %s takes the password again: the stored one is sent nowhere else', async (_title, more) => {
    await added();
    const before = scene.logins.length;
    expect(await settings(more as Record<string, string>)).toContain('the stored one is never sent to another server');
    expect(scene.logins.length).toBe(before);
    expect((await stored())?.connection).toMatchObject({ host: 'localhost', user });
  });

  test('another server is stored with its password, once the login worked there', async () => {
    await added();
    expect(await settings({ host: '127.0.0.1', password: 'wrong' })).toContain('failed Login');
    expect(await settings({ host: '127.0.0.1', password: 'pw' })).toBe(`${name} is changed (host).`);
    expect((await stored())?.connection.host).toBe('127.0.0.1');
  });

  test('to delete on the server take the password of the admin', async () => {
    await added();
    expect(await settings({ action: 'delete' })).toContain('takes your own password');
    expect(await settings({ action: 'delete', own_password: own })).toContain('is changed (afterwards)');
    expect(await settings({ interval: '77' })).toContain('is changed (interval)');
  });

  test('to move are probed with the stored password: the page says that the folder is not there', async () => {
    await added();
    const before = scene.logins.length;
    expect(await settings({ action: 'move', target: 'Done' })).toContain('There is no folder Done yet');
    expect(scene.logins.slice(before)).toEqual([`${user}@localhost:${dovecot.tlsPort} pw`]);
  });

  test('of a row that was changed meanwhile are refused, also when they are sent again', async () => {
    await added();
    const { text } = await scene.ada.get(`/admin/mailbox/settings?${new URLSearchParams({ name })}`);
    const fields: Record<string, string> = { ...fieldsOf(text, 'mailbox/set'), interval: '66' };
    await scene.app.store.setAddresses((await stored())?.id ?? '', ['other@example.org'], scene.app.actor);
    for (const shown of [fields, fields]) {
      const got = await scene.form('mailbox/set', shown);
      expect([got.status, mainOf(got.text)]).toEqual([422, expect.stringContaining('was changed since the page was')]);
      expect(fieldsOf(got.text, 'mailbox/set')['version']).toBe(fields['version']);
    }
    expect((await stored())?.pollIntervalMs).toBeNull();
  });
});

describe('a mailbox of a provider of OAuth 2', () => {
  const provider = {
    ...{ name: 'm365', kind: 'microsoft', flow: 'person', mailboxes: [], caPem: null },
    imapHosts: [{ host: 'imap.example.org', port: 993 }],
  } as unknown as OAuthProvider;
  const fields = {
    user: 'desk@example.org',
    port: '',
    trust: 'system',
    fingerprint: '',
    sign_in: 'm365',
    password: '',
  };

  test('is stored without a login, and leads to the page where a person signs in', async () => {
    await using other = await openMailboxPageScene({ providers: [provider] });
    const form = await addForm(fields);
    const foreign = await other.form('mailbox/add', form);
    expect([foreign.status, mainOf(foreign.text)]).toEqual([422, expect.stringContaining('imap.example.org:993')]);
    const got = await other.form('mailbox/add', { ...form, host: 'imap.example.org' });
    expect([got.status, other.logins]).toEqual([303, []]);
    const { text } = await other.ada.get(got.headers.location ?? '');
    expect(text).toContain('Now connect it');
    expect(text).toContain('action="/admin/mailbox/connect"');
    expect((await other.app.store.listMailboxes())[0]).toMatchObject({ name, grant: name });
  });

  test('keeps its grant when other settings change, and takes a password in its place', async () => {
    await using other = await openMailboxPageScene({ providers: [provider] });
    await other.form('mailbox/add', await addForm({ ...fields, host: 'imap.example.org' }));
    const change = async (more: Record<string, string>) => {
      const { text } = await other.ada.get(`/admin/mailbox/settings?${new URLSearchParams({ name })}`);
      const shown = fieldsOf(text, 'mailbox/set');
      expect(shown['sign_in']).toBe('grant:');
      return await other.form('mailbox/set', { ...shown, ...more });
    };
    expect((await change({ interval: '44' })).status).toBe(303);
    expect((await other.app.store.listMailboxes())[0]).toMatchObject({ grant: name, pollIntervalMs: 44_000 });
    const noPassword = await change({ sign_in: 'password:' });
    expect([noPassword.status, noPassword.text]).toEqual([422, expect.stringContaining('password of the mailbox is')]);
    const server = { host: 'localhost', port: `${dovecot.tlsPort}`, trust: 'pin', fingerprint: dovecot.fingerprint };
    const got = await change({ sign_in: 'password:', password: 'pw', user, ...server });
    expect(got.status).toBe(303);
    expect((await other.app.store.listMailboxes())[0]).toMatchObject({ grant: null });
  });
});

describe('a stored mailbox', () => {
  test('is tested, paused and resumed; the audit names the admin', async () => {
    await added();
    const tested = await scene.form('mailbox/test', await scene.row(name));
    expect([tested.status, mainOf(tested.text)]).toEqual([200, expect.stringContaining('The test passed')]);
    const paused = await scene.form('mailbox/pause', await scene.row(name));
    expect(await flashAt(paused.headers.location ?? '')).toContain('is paused');
    expect(await stored()).toMatchObject({ state: 'paused' });
    const [entry] = await scene.app.store.readAudit(1);
    expect(entry).toMatchObject({ action: 'mailbox.paused', who: 'ada (admin page)', detail: name });
    await scene.form('mailbox/resume', await scene.row(name));
    expect(await stored()).toMatchObject({ state: 'active' });
  });

  test('is tried at once, alone or with all of its host; a paused one is not', async () => {
    await added();
    const tried = async (fields: Record<string, string>) =>
      await flashAt((await scene.form('mailbox/retry', fields)).headers.location ?? '');
    // No daemon runs here.
    expect(await tried({ name })).toContain(`${name} is polled as soon as that can begin.`);
    const { id = '' } = (await stored()) ?? {};
    expect((await scene.app.store.retryProgress([id])).get(id)).toMatchObject({ isRequested: true });
    expect((await scene.app.store.readAudit(1))[0]).toMatchObject({
      ...{ action: 'mailbox.retried', who: 'ada (admin page)', detail: name },
    });
    expect(await tried({ host: 'LOCALHOST' })).toMatch(/LOCALHOST: 0 of (\d+) ok, 0 failing, \1 not polled so far\./);
    expect(await tried({ host: 'elsewhere.example' })).toContain('No active mailbox is on host');
    await scene.form('mailbox/pause', await scene.row(name));
    expect(await tried({ name })).toContain(`${name} is paused, and not polled. First: ticketmaild mailbox resume `);
  });

  test('whose messages would move into a folder that is not there, is tested: the page says so', async () => {
    await added({ action: 'move', target: 'Nowhere' });
    const tested = await scene.form('mailbox/test', await scene.row(name));
    expect(mainOf(tested.text)).toContain('There is no folder Nowhere yet: the first move creates it');
  });

  test('gets a new password only if the server takes it', async () => {
    await added();
    const refused = await scene.form('mailbox/password', { ...(await scene.row(name)), password: 'no', probe: 'yes' });
    expect([refused.status, mainOf(refused.text)]).toEqual([422, expect.stringContaining('failed Login')]);
    const set = await scene.form('mailbox/password', { ...(await scene.row(name)), password: 'pw', probe: 'yes' });
    expect(await flashAt(set.headers.location ?? '')).toContain('is set');
    const [entry] = await scene.app.store.readAudit(1);
    expect(entry).toMatchObject({ action: 'password.set', who: 'ada (admin page)' });
  });

  test('is removed with its name typed and the password of the admin, and not without', async () => {
    await added();
    const remove = async (more: Record<string, string>) =>
      await scene.form('mailbox/remove', { ...(await scene.row(name)), ...more });
    for (const [more, text] of [
      [{ typed_name: 'desk', own_password: own }, 'the name that was typed is not'],
      [{ typed_name: name }, 'Removing a mailbox takes your own password'],
      [{ typed_name: name, own_password: 'guess' }, 'Your own password is wrong'],
    ] as const) {
      expect(mainOf((await remove(more)).text)).toContain(text);
      expect(await stored()).not.toBeNull();
    }
    const done = await remove({ typed_name: name, own_password: own });
    expect([done.status, done.headers.location]).toEqual([303, '/admin/mailboxes']);
    expect(await stored()).toBeNull();
  });
});
