/**
 * Two passwords that the test alone knows, that of the mailboxes and that of the admin, looked for in every answer of
 * the admin page in every state of encryption, off too, in the log at level trace, in the audit and in all tables.
 *
 * That the search finds what is there is shown by the table of mailboxes before encryption is on.
 */

import { chmod, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { browser, type Got } from '../../adapters/web/page-client.ts';
import {
  type AdminScene,
  adminName,
  attempt,
  bothBoxes,
  encryptionPath,
  openAdminScene,
  type SignedIn,
  signIn,
  untilSwitch,
} from '../../admin/admin-scene.ts';
import { changingForms, createAttacker } from '../../admin/attacker.ts';
import { newCanary } from '../../support/leaks/canary.ts';
import { countFormsIn } from '../../support/leaks/form-search.ts';
import type { Daemon } from '../../support/processes/daemon.ts';
import { named } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';

const pages = [
  '/admin/sign-in',
  '/admin/overview',
  '/admin/mailboxes?show=failing&search=refused',
  '/admin/mailboxes/add',
  '/admin/mailbox?name=refused',
  '/admin/mailbox/settings?name=refused',
  '/admin/quarantine',
  encryptionPath,
  `${encryptionPath}?refresh=1`,
  '/admin/assets/admin.js',
  '/admin/nothing',
];

const textOf = ({ status, headers, text }: Got): string => `${status} ${JSON.stringify(headers)}\n${text}`;

test('neither a mailbox password nor that of an admin is in any answer, line or row', async () => {
  const [canary, adminCanary] = [newCanary(), newCanary(20)];
  await using scene = await openAdminScene({
    password: canary,
    adminPassword: adminCanary,
    env: { TICKETMAILD_LOG_LEVEL: 'trace', TICKETMAILD_POLL_BACKOFF_MAX_S: '1' },
  });
  // One whose password the server does not know.
  await scene.rows(
    `insert into mailboxes (name, host, port, tls_mode, allow_plaintext, username, password) select 'refused', host, port, tls_mode, allow_plaintext, 'refused', concat(password, 'x') from mailboxes limit 1`,
  );
  expect(countFormsIn(canary, Buffer.from(await tablesOf(scene)))).not.toEqual([]);
  const seen: string[] = [];
  let daemon = await scene.start();
  await daemon.waitFor(named('poll.failed'));
  const mallory = createAttacker(scene.address);
  const ada = await signIn(scene, { password: Buffer.from(adminCanary).toString() });
  const look = (client: SignedIn) => lookEverywhere(client, seen);
  await look(ada);
  for (const name of ['', adminName, 'nobody', Buffer.from(adminCanary).toString()]) {
    const { csrf } = ada;
    const password = Buffer.from(canary).toString();
    seen.push(textOf(await mallory.post('/admin/sign-in', { csrf, name, password })));
    const refused = await attempt(browser(scene), name, password);
    expect(refused.status).toBe(name === '' ? 422 : 403);
    // The form shows the name as it was typed, to the same browser; nothing else does.
    seen.push(textOf(refused).replace(/(<input id="name"[^>]*) value="[^"]*"/, '$1'));
  }
  await ada.form('server/encryption/enable', bothBoxes);
  await look(ada);
  await untilSwitch(scene, 'on');
  await look(ada);
  for (const [path, fields] of changingForms.filter(([path]) => path !== 'sign-out'))
    seen.push(textOf(await ada.formThenPage(path, fields)));
  await operationOver(scene);
  seen.push(...(await typedIntoForms(scene, ada, canary, adminCanary)));
  await look(ada);
  await chmod(scene.keyFile, 0o644);
  await until('it is orphaned', async () => (await ada.get(encryptionPath)).text.includes('only in memory'));
  await look(ada);
  await rename(scene.keyFile, `${scene.keyFile}.away`);
  seen.push(await restarted(daemon));
  daemon = await scene.start();
  await look(ada);
  await rename(`${scene.keyFile}.away`, scene.keyFile);
  await chmod(scene.keyFile, 0o600);
  await scene.rows(`update encryption_switch set state = 'off'`);
  await until('it is forged', async () =>
    (await ada.get(encryptionPath)).text.includes('The encryption switch is forged'),
  );
  await look(ada);
  await scene.rows(`update encryption_switch set state = 'on'`);
  await until('it is well', async () => (await ada.get(encryptionPath)).text.includes('Request to disable'));
  const audit = await scene.command(['admin', 'log', '--json']);
  const rows = await tablesOf(scene);
  seen.push(audit.stdout, (await scene.command(['encryption', 'log', '--json'])).stdout);
  // While encryption is on, no table holds either.
  expect(countFormsIn(canary, Buffer.from(rows))).toEqual([]);
  await switchOff(scene, ada);
  await look(ada);
  seen.push(await restarted(daemon), ...mallory.answers);
  const everything = Buffer.from(seen.join('\n'));
  expect(everything.length).toBeGreaterThan(500_000);
  expect(countFormsIn(canary, everything)).toEqual([]);
  expect(countFormsIn(adminCanary, everything)).toEqual([]);
  expect(countFormsIn(adminCanary, Buffer.from(`${rows}\n${await tablesOf(scene)}`))).toEqual([]);
}, 180_000);

async function lookEverywhere(client: SignedIn, seen: string[]): Promise<void> {
  for (const path of pages) {
    seen.push(textOf(await client.get(path)));
    seen.push(textOf(await client.get(path, { accept: 'application/json' })));
  }
  const { csrf } = client;
  seen.push(textOf(await client.post(`${encryptionPath}/verify-backup`, { csrf, key_ids: '0123456789abcdef' })));
  seen.push(textOf(await client.post(`${encryptionPath}/enable`, { csrf })));
}

/** The password of a mailbox in every form that takes one, good and refused; every answer. */
async function typedIntoForms(
  { dovecot }: AdminScene,
  ada: SignedIn,
  canary: Uint8Array,
  adminCanary: Uint8Array,
): Promise<readonly string[]> {
  const [password, own_password] = [canary, adminCanary].map((secret) => Buffer.from(secret).toString());
  const seen: string[] = [];
  const send = async (path: string, fields: Record<string, string>): Promise<Got> => {
    const got = await ada.formThenPage(path, { password: password ?? '', probe: 'yes', ...fields });
    seen.push(textOf(got));
    return got;
  };
  const user = dovecot.newUser();
  await dovecot.createFolder(user, 'INBOX');
  const server = { host: '127.0.0.1', port: `${dovecot.port}`, tls: 'none', trust: 'system' };
  const texts = { name: 'typed', user, ...server, sign_in: 'password:', folder: 'INBOX', since: 'now', action: 'seen' };
  for (const more of [{ password: `${password}x` }, { port: '1' }, { folder: 'none' }, { name: '' }])
    await send('mailbox/add', { ...texts, ...more });
  expect((await send('mailbox/add', texts)).text).toContain('typed is added.');
  const row = async () => {
    const { text } = await ada.get('/admin/mailbox?name=typed');
    return { mailbox: 'typed', version: /name="version" value="([^"]*)"/.exec(text)?.[1] ?? '' };
  };
  expect((await send('mailbox/password', await row())).text).toContain('is set');
  await send('mailbox/password', { ...(await row()), password: `${password}x` });
  await send('mailbox/set', { ...texts, ...(await row()), host: 'localhost', password: `${password}x` });
  await send('mailbox/set', { ...texts, ...(await row()), host: 'localhost' });
  await send('mailbox/remove', { ...(await row()), typed_name: 'typed', own_password: password ?? '' });
  const removed = await send('mailbox/remove', {
    ...(await row()),
    ...{ typed_name: 'typed', own_password: own_password ?? '' },
  });
  expect(removed.text).toContain('typed is removed');
  return seen;
}

/** The end of a daemon, with everything that it printed. */
async function restarted(daemon: Daemon): Promise<string> {
  daemon.signal('SIGTERM');
  const { stdout, stderr } = await daemon.exit;
  return `${stdout}\n${stderr}`;
}

async function operationOver(scene: AdminScene): Promise<void> {
  await until(
    'the operation is over',
    async () => (await scene.rows('select state from admin_operation'))[0] === 'done',
  );
}

async function switchOff(scene: AdminScene, ada: SignedIn): Promise<void> {
  await ada.form('server/encryption/cancel-disable');
  await ada.form('server/encryption/request-disable');
  // The clock of files goes in ticks of some milliseconds: one that was made at once may be as old as the request.
  await until('the proof is accepted', async () => {
    await writeFile(join(scene.dataDir, 'can-disable-encryption.txt'), '');
    const { text } = await ada.formThenPage('server/encryption/confirm-disable');
    return text.includes('Encryption is being disabled');
  });
  await untilSwitch(scene, 'off');
}

async function tablesOf({ rows }: AdminScene): Promise<string> {
  const names = await rows('show tables');
  const all = await Promise.all(names.map((name) => rows(`select * from \`${name}\``)));
  return all.flat().join('\n');
}
