/**
 * `mailbox add|set --oauth` beside a real provider and Dovecot: the probe decides, a password is erased with the change
 * and can come back, and what gives no tokens is shown with the command that mends it.
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { visitProvider } from '../../support/oauth/person.ts';
import type { CommandLine, Ran } from '../command-line.ts';
import { consentFirst, type OAuthScene, startScene } from './scene.ts';

let scene: OAuthScene;
let cli: CommandLine;

beforeAll(async () => {
  scene = await startScene();
});

afterAll(() => scene[Symbol.asyncDispose]());

beforeEach(async () => {
  cli = await scene.open();
});

afterEach(async () => {
  await scene.provider.set({ fault: null });
  const { tokens } = await scene.provider.report();
  cli.expectNothingLeaked(tokens.flatMap(({ access, refresh }) => [access, ...(refresh === null ? [] : [refresh])]));
  await cli[Symbol.asyncDispose]();
});

const add = (name: string, user: string, ...more: readonly string[]): Promise<Ran> =>
  cli.run(['mailbox', 'add', '--name', name, ...scene.server, '--user', user, ...more]);

async function shown(name: string): Promise<Record<string, unknown>> {
  return (await cli.run(['mailbox', 'show', name, '--json'])).json[0] ?? {};
}

async function names(): Promise<readonly string[]> {
  await using app = await cli.open();
  return [...(await app.store.listMailboxes()), ...(await app.store.listGrants())].map(({ name }) => name);
}

test('a login that is refused stores neither a mailbox nor a grant', async () => {
  const ran = await add('private', 'private@example.test', '--oauth', 'appkey');
  expect(ran).toMatchObject({ code: 1, out: '' });
  expect(ran.err).toMatch(/^localhost:\d+: The server refused the access token for this user\.\nhint: /);
  const folder = await add('desk', 'desk@example.test', '--oauth', 'appkey', '--folder', 'Inbocks');
  expect(folder).toMatchObject({ code: 1, out: '', err: expect.stringContaining('Existing folders: ') });
  expect(await names()).toEqual([]);
});

test('while encryption is on, settings are confirmed; without the key nothing is stored, probed or not', async () => {
  expect(await cli.run(['migrate'])).toMatchObject({ code: 0 });
  expect(await cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared'])).toMatchObject({ code: 0 });
  const options = ['--oauth', 'appkey', '--on-success', 'delete'];
  expect(await add('sealed', 'sealed@example.test', ...options)).toMatchObject({ code: 0, err: '' });
  expect(await shown('sealed')).toMatchObject({ post_action_waits: false, grant_state: 'ready' });
  await rename(join(cli.dataDir, 'encryption-key.bin'), join(cli.folder, 'away.bin'));
  for (const more of [[], ['--no-probe']]) {
    const ran = await add('other', 'other@example.test', '--oauth', 'service', ...more);
    expect(ran).toMatchObject({ code: 1, out: '', err: expect.stringContaining('key') });
  }
  expect(await names()).toEqual(['sealed', 'appkey']);
});

test.each([false, true])(
  'a password is erased by a grant, and takes its place again (encryption on: %s)',
  async (isOn) => {
    const user = 'changes@example.test';
    const ca = ['--ca-file', scene.dovecot.caFile];
    const withPassword = ['--user', user, '--password-stdin', ...ca, '--on-success', 'delete'];
    const added = await cli.run(['mailbox', 'add', '--name', 'one', ...scene.server, ...withPassword], 'pw');
    expect(added).toMatchObject({ code: 0 });
    if (isOn) await cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
    const pinned = await cli.run(['mailbox', 'set', 'one', '--oauth', 'appkey']);
    expect(pinned).toMatchObject({ code: 3, err: expect.stringContaining('authorities of its own') });
    const changed = await cli.run(['mailbox', 'set', 'one', '--oauth', 'appkey', '--system-ca']);
    expect(changed).toMatchObject({ code: 0, err: '' });
    expect(changed.out).toMatch(/^changed one: authorities, sign-in; now .*messages there/);
    expect(await shown('one')).toMatchObject({
      ...{ grant: 'appkey', provider: 'appkey', grant_state: 'ready', ca_pem: null, post_action_waits: false },
      ...{ password_form: 'plain', password_key_id: null },
    });
    {
      await using app = await cli.open();
      const { id } = await app.store.mailboxByName('one');
      expect((await app.store.readPassword(id))?.bytes).toHaveLength(0);
    }
    expect(await cli.run(['poll', 'one'])).toMatchObject({ code: 0 });
    if (isOn) {
      const doubtful = await cli.run(['mailbox', 'set', 'one', '--password-stdin', ...ca], 'pw');
      expect(doubtful).toMatchObject({ code: 3, err: expect.stringContaining('ticketmaild mailbox confirm one') });
      expect(await cli.run(['mailbox', 'confirm', 'one', '--yes'])).toMatchObject({ code: 0 });
    }
    const back = await cli.run(['mailbox', 'set', 'one', '--password-stdin', ...ca], 'pw');
    expect(back).toMatchObject({ code: 0, out: expect.stringMatching(/^changed one: authorities, sign-in; now /) });
    expect(await shown('one')).toMatchObject({ grant: null, provider: null, password_form: isOn ? 'sealed' : 'plain' });
    expect(await cli.run(['poll', 'one'])).toMatchObject({ code: 0 });
    const { json } = await cli.run(['mailbox', 'test', 'one', '--json']);
    expect(json[0]).toMatchObject({ mechanism: 'PLAIN' });
  },
);

/** `account` signs in at the address that the command prints, and pastes where the browser ended. */
function signIn(account: string): Promise<Ran> {
  const options = ['--name', 'inline', ...scene.server, '--user', 'inline@example.test', '--oauth', 'people'];
  const answer = async (shown: string): Promise<string> => {
    const [url = ''] = shown.match(/https:\/\/\S+/g) ?? [];
    const ended = await visitProvider(url, account, { caPem: scene.provider.caPem });
    return ended.kind === 'address' ? `${ended.answer}\r` : '';
  };
  return cli.typed(['mailbox', 'add', ...options, '--paste'], [['Paste that whole address here', answer]]);
}

test('a person signs in while the mailbox is added', async () => {
  const other = await signIn('other@example.test');
  expect(other).toMatchObject({ code: 1, out: '', err: expect.stringContaining('other@example.test signed in') });
  expect(await names()).toEqual([]);
  const ran = await signIn('inline@example.test');
  expect(ran).toMatchObject({ code: 0, out: expect.stringContaining('added inline: inline@example.test') });
  expect(await names()).toEqual(['inline', 'inline']);
  expect(await cli.run(['poll', 'inline'])).toMatchObject({ code: 0 });
});

test('a revoked grant is shown since when, why and with the command that mends it', async () => {
  const account = 'ended@example.test';
  await consentFirst(scene, cli, account);
  expect(await add('box', account, '--oauth', 'people', '--grant', 'anna')).toMatchObject({ code: 0 });
  expect((await cli.run(['mailbox', 'list'])).out).toMatch(/^box +new .* anna \(people\) /m);
  await scene.provider.revoke(account);
  expect(await cli.run(['poll', 'box'])).toMatchObject({ code: 1 });
  const list = await cli.run(['mailbox', 'list']);
  expect(list.out).toMatch(/^box +needs consent .* invalid_grant .* anna \(people\)/m);
  expect(list.out).toMatch(/^grant anna since .* UTC: .*invalid_grant.*; ticketmaild mailbox authorize box$/m);
  expect(await shown('box')).toMatchObject({
    ...{ grant: 'anna', provider: 'people', grant_state: 'needs_consent', grant_since: expect.any(String) },
    grant_remedy: 'ticketmaild mailbox authorize box',
  });
  const grants = await cli.run(['oauth', 'list']);
  expect(grants.out).toMatch(/^anna +people +person +needs consent .* 1 +ended@example\.test/m);
  expect(grants.out).toMatch(/^ +appkey +application +unused/m);
  expect(grants.out).toMatch(/^anna: .*; ticketmaild mailbox authorize box$/m);
  const tested = await cli.run(['oauth', 'test', 'anna', '--json']);
  expect(tested.code).toBe(1);
  expect(tested.json).toContainEqual(
    expect.objectContaining({ check: 'grant anna', ok: false, hint: 'ticketmaild mailbox authorize box' }),
  );
  const again = await add('second', account, '--oauth', 'people', '--grant', 'anna');
  expect(again).toMatchObject({ code: 1, err: expect.stringContaining('ticketmaild mailbox authorize box') });
  expect(await names()).toEqual(['box', 'anna']);
});
