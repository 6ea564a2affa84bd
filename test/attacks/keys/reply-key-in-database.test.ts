/**
 * A reader of the database makes reply tokens with the key in the table `reply_key`, and writes into any ticket. While
 * encryption is on, the key is sealed under the key file, and one from an older dump counts for the tickets of that
 * time alone. Tokens that were issued keep leading into their tickets, whatever happens to the switch.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isValidToken, type ReplyToken, tokensInAddresses } from '../../../src/mail/thread/reply-token.ts';
import { openReplyKeys } from '../../../src/secret/reply-key.ts';
import { type CommandLine, openCommandLine } from '../../commands/command-line.ts';

const day = 86_400_000;
const enabling = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];
const ref = '261124-7KQ3MX';
const ticketId = '01a20d92-5701-7c1a-9c55-0d4be1f0a2c7';

let cli: CommandLine;

beforeEach(async () => {
  cli = await openCommandLine();
  await using app = await cli.open();
  await app.migrations.apply();
  cli.sql(`insert into ticket (id, ref, mailbox_id, subject, requester_name, requester_address, status, created_at,
    updated_at, is_orphan) values ('${ticketId}', '${ref}', '${ticketId}', 'x', '', 'ada@example.org', 'open',
    '2026-11-24 10:00:00.000', '2026-11-24 10:00:00.000', 0)`);
});

afterEach(() => cli[Symbol.asyncDispose]());

/** A token as the helpdesk gets it. */
async function issued(): Promise<ReplyToken> {
  const { out, err } = await cli.run(['ticket', 'reply-address', ref, '--address', 'support@example.com']);
  const [token] = tokensInAddresses([out]);
  if (token === undefined) throw new Error(err);
  return token;
}

/** The secrets that a reader of the table tries as keys. */
function dumped(): readonly Uint8Array[] {
  using database = new DatabaseSync(join(cli.dataDir, 'ticketmaild.db'));
  return database
    .prepare('select secret from reply_key')
    .all()
    .map(({ secret }) => secret as Uint8Array);
}

/** Until when a ticket must have been created for that token to lead into it; undefined: never. */
async function accepted(token: ReplyToken): Promise<number | null | undefined> {
  await using app = await cli.open();
  const opened = await app.replyKeys.open(await app.store.readReplyKeys());
  const matching = opened.filter(({ secret }) => isValidToken(secret, token));
  return matching.length === 0 ? undefined : (matching[0]?.ticketsUntilMs ?? null);
}

test('what the table holds while encryption is on makes no valid token', async () => {
  await cli.run(enabling);
  const token = await issued();
  expect(dumped().length).toBeGreaterThan(0);
  expect(dumped().filter((secret) => isValidToken(secret, token))).toEqual([]);
  // Nor does any part of it.
  const parts = dumped().flatMap((secret) =>
    Array.from({ length: Math.max(0, secret.length - 31) }, (_, at) => secret.subarray(at, at + 32)),
  );
  expect(parts.filter((part) => isValidToken(part, token))).toEqual([]);
  expect(await accepted(token)).toBeNull();
});

test('a dump from before encryption makes tokens for the tickets of that time alone', async () => {
  const before = await issued();
  const [stolen] = dumped();
  expect(isValidToken(stolen ?? new Uint8Array(32), before)).toBe(true);
  await cli.run(enabling);
  const until = await accepted(before);
  expect(until).toBeGreaterThan(Date.now() - day);
  expect(until).toBeLessThan(Date.now() + 2 * day);
  expect(isValidToken(stolen ?? new Uint8Array(32), await issued())).toBe(false);
});

test('issued tokens stay valid over enable, rotate, rotate, disable and enable again', async () => {
  const tokens = [await issued()];
  for (const operation of [
    enabling,
    ['encryption', 'rotate'],
    ['encryption', 'rotate'],
    ['encryption', 'disable', '--yes'],
    enabling,
  ]) {
    expect(await cli.run(operation)).toMatchObject({ code: 0 });
    tokens.push(await issued());
    for (const token of tokens) expect(await accepted(token)).not.toBeUndefined();
  }
  expect(await accepted(tokens.at(-1) ?? { ref, mac: '' })).toBeNull();
});

test('a key file of another installation opens none, and a row moved to another number does not either', async () => {
  await cli.run(enabling);
  await using app = await cli.open();
  await app.vault.refresh();
  const [row] = await app.store.readReplyKeys();
  if (row === undefined) throw new Error('enable makes one');
  expect(openReplyKeys([row], app.vault.keys())).toHaveLength(1);
  expect(openReplyKeys([{ ...row, id: row.id + 1 }], app.vault.keys())).toEqual([]);
  expect(openReplyKeys([row], [])).toEqual([]);
});
