/**
 * Shell quoting, run by real shells: any name from the database arrives as exactly one argument, and nothing else runs.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/adapters/clock/clock.ts';
import { quarantinePage } from '../../src/adapters/web/pages/quarantine.ts';
import { createQuarantineActions } from '../../src/admin/quarantine-actions.ts';
import { listedMailboxes } from '../../src/admin/views/overview.ts';
import { quarantinedById } from '../../src/ingest/quarantine/read.ts';
import { type ReconcilePorts, reconcileFolder } from '../../src/ingest/repair/reconcile.ts';
import type { QuarantinedMessage } from '../../src/ingest/stores.ts';
import {
  noCommandNotice,
  shellArg,
  shellArgOrNotice,
  shellCommand,
  shellCommandWithOption,
} from '../../src/text/shell.ts';
import { by, sampleMailbox } from '../adapters/database/samples.ts';
import { frame } from '../adapters/web/pages/views.ts';
import { quarantine } from '../adapters/web/pages/views-mail.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts';

let folder: TemporaryFolder;

beforeAll(async () => {
  folder = await temporaryFolder('shell');
  // fish creates its folders there.
  mkdirSync(join(folder.path, 'home'));
  const stub = '#!/bin/sh\nfor one in "$@"; do printf "%s\\n" "$one"; done\n';
  writeFileSync(join(folder.path, 'ticketmaild'), stub, { mode: 0o755 });
});

afterAll(() => folder[Symbol.asyncDispose]());

const hostile = [
  ...['support;touch$IFS./pwned;#', '$(touch pwned)', '`touch pwned`', '"$(touch pwned)"'],
  ...["a' ; touch pwned ; '", "a\\' ; touch pwned ; '", "\\';touch pwned;'", "'", '\\', '"', "''", '\\\\'],
  ...['a|touch pwned', 'a&touch pwned', '>pwned', '<(touch pwned)', '{a,b}', '*', '?', '~', '=ls', '!!', '#', '%1'],
  ...['-rf', '--', '--help', '-', '- x', 'a b  c', ' a', 'müller 受信', 'A=touch', '$HOME', 'a/b/c', '[a]', '^a'],
];
const notForShells = [
  ...['a\ntouch pwned', 'a\rb', 'a\u0000b', '\u001b[201~touch pwned\r', 'a\tb', '\u007f', '\u0085', '\u202egnp'],
  ...['a\u200bb', 'a\u2028b', '\ud800', 'a\ufffdb', '\u{e0041}'],
];

/** The arguments that `ticketmaild` receives from these lines. */
function argumentsOf(lines: readonly string[], shell = 'sh'): readonly string[] {
  const line = lines.join('\n');
  const env = { PATH: `${folder.path}:${process.env.PATH ?? ''}`, HOME: join(folder.path, 'home') };
  const { stdout, stderr, status } = spawnSync(shell, ['-c', line], { cwd: folder.path, env, encoding: 'utf8' });
  expect({ stderr, status, files: readdirSync(folder.path) }, line).toEqual({
    ...{ stderr: '', status: 0, files: ['home', 'ticketmaild'] },
  });
  return stdout.split('\n').slice(0, -1);
}

/** The command at the end of a hint or a sentence; null: there is none. */
function commandIn(text: string): string | null {
  const at = text.indexOf('ticketmaild ');
  return at < 0 ? null : text.slice(at);
}

function held(mailbox: string): QuarantinedMessage {
  return {
    ...{
      mailboxId: 'm',
      mailbox,
      folderEpoch: 7,
      uid: 1,
      reason: 'mail_loop',
      quarantinedAtMs: 1,
      discardedAtMs: null,
    },
    ...{ receivedAtMs: null, sizeBytes: 300 * 1024 * 1024, raw: null },
  };
}

const characters: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', '#39': "'" };

/** The command that the button of the page copies. */
function onThePage(mailbox: string): string | null {
  const [line] = quarantine.messages.list.map((mail) => ({ ...mail, mailbox, id: `${mailbox}/7/1` }));
  const list = line === undefined ? [] : [line];
  const page = quarantinePage(frame, { ...quarantine, messages: { ...quarantine.messages, list } });
  const [, shown = null] = /<div class="command"><pre><code>(.*?)<\/code>/s.exec(page) ?? [];
  if (shown === null) expect(page).toContain(noCommandNotice);
  return shown === null
    ? null
    : shown.replace(/<[^>]*>/g, '').replace(/&([a-z#0-9]+);/g, (_, name: string) => characters[name] ?? '?');
}

function ofARemoval(name: string): string | null {
  const health = {
    ...{ nextPollAtMs: null, failures: 0, failingSinceMs: null, loginFailures: 0, lastSuccessAtMs: null },
  };
  const rest = { lastError: null, cursor: null, password: { form: 'plain', keyId: null }, settingsSeal: null } as const;
  const [listed] = listedMailboxes(
    [],
    [{ ...sampleMailbox({ name, state: 'removing' }), health: { ...health, ...rest } }],
  );
  return commandIn(listed?.line.error?.hint ?? '');
}

async function ofALargeMail(name: string): Promise<string | null> {
  const store = { quarantinedByName: () => Promise.resolve([held(name)]) };
  const ports = { store, clock: systemClock, actor: by } as unknown as Parameters<typeof createQuarantineActions>[0];
  await using actions = createQuarantineActions(ports, () => undefined);
  const { sentence } = await actions.resolveQuarantined(`${name}/7/1`, 'release', 'ada');
  expect(sentence).toContain('too large');
  // The sentence begins with the id.
  return commandIn(sentence.slice(name.length));
}

async function ofAnUnpolled(name: string): Promise<string | null> {
  const session = { folder: {}, listAbove: () => Promise.resolve([]), [Symbol.asyncDispose]: () => Promise.resolve() };
  const store = { readFolderProgress: () => Promise.resolve({ cursor: null, startUid: null, folder: null }) };
  const ports = {
    store,
    credentials: { withCredential: () => Promise.resolve(session) },
    sessions: {},
  } as unknown as ReconcilePorts;
  const failure = await reconcileFolder(sampleMailbox({ name }), ports).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'check_failed' });
  return commandIn((failure as { readonly hint: string }).hint);
}

async function ofTwoMessages(name: string): Promise<string> {
  const store = { quarantinedByName: () => Promise.resolve([held('other'), held(name)]) };
  const failure = await quarantinedById(store, 'other/1').catch((error: unknown) => error);
  return (failure as { readonly hint: string }).hint.replace('Use the full id, for example: ', '');
}

test.each(hostile)('the name %j arrives as one argument, and nothing else runs', async (name) => {
  const lead = name.startsWith('-') ? ['--'] : [];
  const id = `${name}/7/1`;
  const lines: readonly (readonly [string | null, readonly string[]])[] = [
    [shellCommand('poll', name), ['poll', ...lead, name]],
    [shellCommand('mailbox set-addresses', name, ' ADDRESS'), ['mailbox', 'set-addresses', ...lead, name, 'ADDRESS']],
    [shellCommandWithOption('message list', 'mailbox', name), ['message', 'list', `--mailbox=${name}`]],
    [`ticketmaild ${shellArgOrNotice(name)}`, [name]],
    [onThePage(name), ['quarantine', 'release', ...lead, id]],
    [ofARemoval(name), ['mailbox', 'remove', ...lead, name]],
    [await ofALargeMail(name), ['quarantine', 'release', ...lead, id]],
    [await ofAnUnpolled(name), ['mailbox', 'retry', ...lead, name]],
    [`ticketmaild ${await ofTwoMessages(name)}`, [id]],
  ];
  expect(lines.filter(([line]) => line === null)).toEqual([]);
  expect(argumentsOf(lines.map(([line]) => line ?? ''))).toEqual(lines.flatMap(([, expected]) => expected));
});

/** zsh and fish are tested where they are installed. */
const shells = ['bash', 'zsh', 'fish'].filter((name) => spawnSync(name, ['-c', 'true']).status === 0);

test.each(shells)('several words arrive unchanged in %s', (shell) => {
  const line = `ticketmaild ${hostile.map(shellArg).join(' ')} ${shellArg('')}`;
  expect(argumentsOf([line], shell)).toEqual([...hostile, '']);
});

test.each(notForShells)('for the name %j no command is shown', async (name) => {
  expect([shellCommand('poll', name), shellCommandWithOption('message list', 'mailbox', name)]).toEqual([null, null]);
  expect([shellArgOrNotice(name), await ofTwoMessages(name)]).toEqual([noCommandNotice, noCommandNotice]);
  expect(onThePage(name)).toBeNull();
  expect([ofARemoval(name), await ofALargeMail(name), await ofAnUnpolled(name)]).toEqual([null, null, null]);
});

test('a plain name is not quoted', () => {
  expect(shellCommand('mailbox remove', 'support-berlin')).toBe('ticketmaild mailbox remove support-berlin');
  expect(shellArg('/var/lib/ticketmaild/encryption-key.bin')).toBe('/var/lib/ticketmaild/encryption-key.bin');
});
