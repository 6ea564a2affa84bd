/**
 * Least privilege of the database users: the documented rights suffice for the daemon and every command, and each of
 * them is used by some statement; those of a reporter and a helpdesk reach nothing secret.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../src/adapters/database/database.ts';
import { buildProgram } from '../../src/commands/program.ts';
import type { DatabaseConfig } from '../../src/config/config.ts';
import type { OAuthProvider } from '../../src/config/oauth-provider.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { type CommandLine, openCommandLine } from '../commands/command-line.ts';
import { type OAuthScene, startScene, tokenOfAnotherProgram } from '../commands/oauth/scene.ts';
import { runWithPerson } from '../commands/oauth/sign-in.ts';
import { startDaemon } from '../support/processes/daemon.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { password } from '../support/servers/dovecot-settings.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { runProgram } from '../support/servers/programs.ts';

/** Needed by `migrate`. */
const migrating = ['SELECT', 'INSERT', 'CREATE', 'INDEX'];

/** On a database NAME for a user WHO; `rebuilding` is for `encryption enable`. */
const rebuilding = `
GRANT ALTER, CREATE ON NAME.mailboxes TO WHO;
GRANT ALTER, CREATE ON NAME.oauth_grant TO WHO;
GRANT ALTER, CREATE ON NAME.oauth_access TO WHO;`;

const wholeDatabase = `
GRANT SELECT, INSERT, UPDATE, DELETE ON NAME.* TO WHO;${rebuilding}`;

const tableByTable = `
GRANT SELECT ON NAME.schema_migration TO WHO;
GRANT SELECT, INSERT ON NAME.audit TO WHO;
GRANT SELECT, INSERT ON NAME.ticket_link TO WHO;
GRANT SELECT ON NAME.sent_message TO WHO;
GRANT SELECT, INSERT, UPDATE ON NAME.reply_key TO WHO;
GRANT SELECT, INSERT, UPDATE ON NAME.message TO WHO;
GRANT SELECT, INSERT, DELETE ON NAME.attachment TO WHO;
GRANT SELECT, INSERT, DELETE ON NAME.message_reference TO WHO;
GRANT SELECT, INSERT, UPDATE ON NAME.ticket TO WHO;
GRANT SELECT, INSERT, UPDATE ON NAME.encryption_switch TO WHO;
GRANT SELECT, INSERT, UPDATE ON NAME.admin_operation TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE ON NAME.outcome TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE ON NAME.mailbox_state TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE ON NAME.workers TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE ON NAME.admin_account TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE ON NAME.admin_session TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE ON NAME.admin_attempt TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE, ALTER, CREATE ON NAME.oauth_grant TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE, ALTER, CREATE ON NAME.oauth_access TO WHO;
GRANT SELECT, INSERT, UPDATE, DELETE, ALTER, CREATE ON NAME.mailboxes TO WHO;`;

/** For a program that shows tickets: no password, no key of reply tokens, no account of the admin page. */
const reporter = `
GRANT SELECT ON NAME.ticket TO WHO;
GRANT SELECT ON NAME.message TO WHO;
GRANT SELECT ON NAME.attachment TO WHO;
GRANT SELECT ON NAME.ticket_link TO WHO;
GRANT SELECT ON NAME.outcome TO WHO;
GRANT SELECT ON NAME.audit TO WHO;
GRANT SELECT (id, name, host, username, folder, state, addresses) ON NAME.mailboxes TO WHO;`;

/** On top of them for a helpdesk that closes and deletes tickets and keeps the mailboxes. */
const helpdesk = `
GRANT UPDATE (status, closed_at) ON NAME.ticket TO WHO;
GRANT DELETE ON NAME.ticket TO WHO;
GRANT DELETE ON NAME.message TO WHO;
GRANT DELETE ON NAME.attachment TO WHO;
GRANT DELETE ON NAME.ticket_link TO WHO;
GRANT SELECT (message_id), DELETE ON NAME.message_reference TO WHO;
GRANT SELECT, INSERT, DELETE ON NAME.sent_message TO WHO;
GRANT INSERT, UPDATE, DELETE ON NAME.mailboxes TO WHO;`;

/** On top of these for a helpdesk that stores grants of OAuth 2. */
const grantWriter = `
GRANT SELECT (id, name, provider, account, state, state_since, error_code) ON NAME.oauth_grant TO WHO;
GRANT INSERT (name, provider, account, refresh) ON NAME.oauth_grant TO WHO;
GRANT UPDATE (account, refresh, refresh_form, state, retry_at) ON NAME.oauth_grant TO WHO;`;

/** Commands that need no database, or run until they are stopped. */
const notAsked = [
  ...['run', 'logs', 'status', 'log-level', 'help', 'completion', 'complete-names', 'config show', 'config check'],
  // It reads and fills another database.
  'database copy',
];

let mariadb: Mariadb;
let dovecot: Dovecot;
let oauth: OAuthScene;

beforeAll(async () => {
  [mariadb, dovecot, oauth] = await Promise.all([startMariadb(), startDovecot(), startScene()]);
});

afterAll(async () => {
  await mariadb[Symbol.asyncDispose]();
  await dovecot[Symbol.asyncDispose]();
  await oauth[Symbol.asyncDispose]();
});

let databases = 0;

/**
 * An empty database and a user of its own, with the rights that `grants` gives; `NAME` and `WHO` in SQL are the two.
 */
async function emptyDatabase(grants: string) {
  databases += 1;
  const name = `rights_${databases}`;
  const who = `rights_${databases}@'127.0.0.1'`;
  const asRoot = (sql: string) => mariadb.query(sql.replaceAll('NAME', name).replaceAll('WHO', who));
  await mariadb.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4; CREATE USER ${who} IDENTIFIED BY 'pw';`);
  await asRoot(grants);
  return { asRoot, name, url: `mysql://${name}:pw@127.0.0.1:${mariadb.port}/${name}` };
}

/** Rights on single tables that no statement in the log used. */
async function unusedRights(grants: string): Promise<readonly string[]> {
  const log = await mariadb.query("SELECT LOWER(REPLACE(argument, '`', '')) FROM mysql.general_log;");
  const uses: Readonly<Record<string, (table: string) => string>> = {
    SELECT: (table) => `select .*(from|join) ${table}\\b`,
    INSERT: (table) => `insert (ignore )?into ${table}\\b`,
    UPDATE: (table) => `update ${table}\\b|insert into ${table}\\b.*on duplicate key update`,
    DELETE: (table) => `delete from ${table}\\b`,
    ALTER: (table) => `alter table ${table}\\b`,
    // MariaDB creates a new table to rebuild one.
    CREATE: (table) => `alter table ${table}\\b`,
  };
  return [...grants.matchAll(/GRANT ([A-Z, ]+) ON NAME\.(\w+)/g)].flatMap(([, rights = '', table = '']) =>
    rights
      .split(', ')
      .filter((right) => !new RegExp(uses[right]?.(table) ?? '$^').test(log))
      .map((right) => `${right} ON ${table}`),
  );
}

/** With tables, created by a user with those rights. */
async function database(grants: string) {
  const { asRoot, url, name } = await emptyDatabase(`GRANT ${migrating.join(', ')} ON NAME.* TO WHO;`);
  await using cli = await openCommandLine({ TICKETMAILD_DATABASE_URL: url });
  expect(await cli.run(['migrate'])).toMatchObject({ code: 0 });
  await asRoot(`REVOKE ALL ON NAME.* FROM WHO; ${grants}`);
  return { asRoot, url, name };
}

test('migrating needs four rights, and an error names each missing one', async () => {
  for (const missing of migrating) {
    const rest = migrating.filter((right) => right !== missing);
    const { url } = await emptyDatabase(`GRANT ${rest.join(', ')} ON NAME.* TO WHO;`);
    await using cli = await openCommandLine({ TICKETMAILD_DATABASE_URL: url });
    const { code, err } = await cli.run(['migrate']);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(`${missing} command denied`) });
  }
});

/** Runs commands that must succeed, and records them. */
function asker(cli: CommandLine) {
  const asked = new Set<string>();
  const remember = (args: readonly string[]) => {
    asked.add(args[0] ?? '').add(args.slice(0, 2).join(' '));
  };
  return {
    asked,
    ask: async (line: string, input?: string): Promise<string> => {
      const args = line.split(' ');
      remember(args);
      const { code, out, err } = await cli.run(args, input);
      expect({ line, code, said: code === 0 ? '' : `${out}${err}` }).toEqual({ line, code: 0, said: '' });
      return out;
    },
    typed: async (line: string, answers: Parameters<CommandLine['typed']>[1]): Promise<void> => {
      remember(line.split(' '));
      expect(await cli.typed(line.split(' '), answers)).toMatchObject({ code: 0 });
    },
  };
}

/** The full names of all commands. */
function commandNames(): string[] {
  const program = buildProgram(
    () => Promise.resolve(),
    () => undefined,
  );
  return program.commands.flatMap((command) =>
    command.commands.length === 0
      ? [command.name()]
      : command.commands.map((inner) => `${command.name()} ${inner.name()}`),
  );
}

async function everydayCommands({ ask }: ReturnType<typeof asker>, cli: CommandLine, user: string): Promise<void> {
  await ask('check');
  await ask('migrate');
  const server = `--host localhost --port ${dovecot.tlsPort} --ca-file ${dovecot.caFile} --user ${user} --since all`;
  await ask(`mailbox add --name desk ${server} --password-stdin`, password);
  for (const what of ['list', 'show desk', 'test desk', 'pause desk', 'resume desk']) await ask(`mailbox ${what}`);
  await ask('mailbox set desk --interval 1');
  await ask('mailbox set-password desk --password-stdin', password);
  await ask('poll desk');
  const tickets = (await ask('ticket list --json')).split('\n');
  const [ticket = ''] = tickets;
  await ask('mailbox set-addresses desk desk@x.example');
  const { ref } = JSON.parse(ticket);
  for (const what of ['show', 'close', 'reopen', 'reply-address', 'message-id']) await ask(`ticket ${what} ${ref}`);
  const withFile = tickets.find((line) => line.includes('"subject":"file"')) ?? '';
  await ask(`ticket attachment ${JSON.parse(withFile).ref} 1 --output ${join(cli.folder, 'a.pdf')}`);
  await ask('message list --mailbox desk');
  await ask(`message source --mailbox desk --uid 1 --output ${join(cli.folder, 'source')}`);
}

/** On the messages that `everydayCommands` polled. */
async function quarantineCommands(
  { ask }: ReturnType<typeof asker>,
  cli: CommandLine,
  asRoot: (sql: string) => Promise<unknown>,
): Promise<void> {
  const ids = (await ask('quarantine list --json'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).id);
  await ask(`quarantine show ${ids[0]}`);
  await ask('quarantine requeue --reason parse_failed');
  await ask(`quarantine export --all --folder ${cli.folder}`);
  await ask(`quarantine release ${ids[0]}`);
  await ask(`quarantine discard ${ids[1]} --yes`);
  await ask('quarantine log');
  await asRoot(`UPDATE NAME.attachment SET name = 'another';
    DELETE FROM NAME.ticket; UPDATE NAME.message SET ticket_id = NULL;
    UPDATE NAME.outcome SET outcome = 'recorded', ticket_id = NULL WHERE outcome IN ('ticket_opened', 'reply_added');`);
  await ask('message reprocess --mailbox desk');
  await ask('reconcile desk --repair');
}

const adminPassword = 'Sieben-Pflaumen-im-Korb-7';

/** The commands, and the database calls of the page: a failed sign-in, a successful one, an operation. */
async function adminPage({ ask }: ReturnType<typeof asker>, name: string): Promise<void> {
  await ask('admin add ada --password-stdin', adminPassword);
  await ask('admin list');
  await ask('admin log');
  await using db = await openDatabase(configOf(name));
  const [bucket, token] = ['b'.repeat(64), 't'.repeat(64)];
  await db.countAttempt(bucket, 60_000);
  await db.clearAttempts(bucket);
  const ada = await db.accountByName('ADA');
  if (ada === null) throw new Error('not added');
  const audit = { who: 'ada', host: 'h', action: 'admin.signed_in', keyId: null, nextKeyId: null, mailboxId: null };
  const nowMs = await db.databaseNowMs();
  expect(await db.addSession(token, ada, nowMs, { ...audit, detail: null })).toBe(true);
  expect(await db.readSession(token)).not.toBeNull();
  await db.touchSession(token, nowMs + 1);
  await db.removeSession(token);
  const rest = { kind: 'enable', by: 'ada', worker: 'w', startedAtMs: nowMs, endedAtMs: null, detail: '{}' } as const;
  expect(await db.beginOperation({ ...rest, number: 1, state: 'running' }, null)).toBe(true);
  expect(await db.updateOperation({ ...rest, number: 1, state: 'done' })).toBe(true);
  expect(await db.readOperation()).toMatchObject({ state: 'done' });
  expect(await db.lastAudit('admin.signed_in')).not.toBeNull();
  expect((await db.activitySince(nowMs - 3_600_000)).length).toBeGreaterThan(0);
  await ask('admin set-password ada --password-stdin', adminPassword.toUpperCase());
  await db.uncountAttempt(bucket);
  await ask('admin unlock');
  await ask('admin remove ada --yes');
}

/** The database calls of a renewal, a consent and their end, at the revision of a new database. */
async function grantCalls(name: string): Promise<void> {
  await using db = await openDatabase(configOf(name));
  const by = { who: 'ada', host: 'h' };
  const provider = { name: 'm365', flow: 'application' } as OAuthProvider;
  const { id: grantId } = await db.ensureGrant('m365', provider);
  const result = await db.claimRenewal({ grantId, username: '' }, 'w', 60_000, 0);
  if (result.kind !== 'claimed') throw new Error(result.kind);
  expect(await db.markAsked(result.claim)).toBe(true);
  const token = () => ({ form: 'plain', token: SecretBytes.take(Buffer.from('t')), switchRevision: 0 }) as const;
  const times = { remainingMs: 60_000, renewInMs: 30_000 };
  expect(await db.storeRenewal(result.claim, { access: token(), ...times, refresh: null, scope: null })).toBe(true);
  await db.setGrantState(grantId, { state: 'refused', errorCode: null, errorMessage: null, retryInMs: null }, by);
  await db.dueRenewals(1);
  await db.nextRenewalInMs();
  expect(await db.forgetUnusedAccess()).toBe(1);
  await db.removeGrant('m365', by);
  await db.storeConsent({ name: 'desk', provider: 'm', account: null, scope: null, refresh: token(), by });
  expect(await db.listGrants()).toHaveLength(1);
  await db.removeGrant('desk', by);
}

/** With a mailbox that has a grant. */
async function grantCommands({ ask, asked }: ReturnType<typeof asker>, { env }: CommandLine): Promise<void> {
  const user = 'anna@example.test';
  await ask('oauth import anna --provider people --refresh-token-stdin', await tokenOfAnotherProgram(oauth, user));
  await ask(`mailbox add --name anna ${oauth.server.join(' ')} --user ${user} --oauth people --grant anna`);
  const { provider } = oauth;
  const signedIn = await runWithPerson(['mailbox', 'authorize', 'anna'], { way: 'device', provider, user, env });
  expect(signedIn).toMatchObject({ code: 0 });
  asked.add('mailbox authorize');
  for (const what of ['list', 'show people', 'test people', 'revoke anna --yes']) await ask(`oauth ${what}`);
  await ask('mailbox remove anna --yes');
}

/** As the user of that name, with the rights under test. */
function configOf(name: string): DatabaseConfig {
  return {
    ...{ kind: 'mysql', hosts: [{ host: '127.0.0.1', port: mariadb.port }], socketPath: null, user: name },
    ...{
      password: SecretBytes.take(Buffer.from('pw')),
      database: name,
      tls: 'off',
      caPem: null,
      fingerprint: null,
      serverKeyPem: null,
      connectionsMax: 2,
    },
  };
}

const passphrase = 'Drei-Birnen-7';

/** Beside a running daemon. */
async function encryptionCommands(
  { ask }: ReturnType<typeof asker>,
  cli: CommandLine,
  spoilSwitch: readonly (() => Promise<unknown>)[],
): Promise<void> {
  await ask('encryption enable --accept-key-loss --backup-prepared');
  for (const what of ['status', 'rotate', 'reseal', 'log']) await ask(`encryption ${what}`);
  await ask('mailbox confirm desk --yes');
  for (const spoil of spoilSwitch) {
    await spoil();
    await ask('encryption trust-restored --yes');
  }
  const copy = join(cli.folder, 'copy');
  await ask('key show');
  await ask(`key backup ${copy}`);
  await ask(`key verify ${copy}`);
  await rm(join(cli.dataDir, 'encryption-key.bin'));
  await ask('key recover');
}

async function otherCommands({ ask, typed }: ReturnType<typeof asker>, cli: CommandLine): Promise<void> {
  await ask('key protect --passphrase-stdin', passphrase);
  await typed('key unprotect', [['Passphrase', `${passphrase}\n`]]);
  await ask('encryption disable --yes');
  await ask('encryption enable --accept-key-loss --backup-prepared');
  await rm(join(cli.dataDir, 'encryption-key.bin'));
  await ask('encryption replace-lost-key --accept-password-loss');
  await ask('mailbox set-password desk --password-stdin --accept-connection', password);
  await ask('reconcile');
  await ask('mailbox remove desk --yes');
}

const large = (id: number) =>
  Buffer.from(
    `Subject: large ${id}\r\nMessage-ID: <large${id}@x.example>\r\n\r\n${'x'.repeat(76).concat('\r\n').repeat(20_000)}`,
  );

const firstMessages = [
  Buffer.from('From: ada@x.example\r\nSubject: first\r\nMessage-ID: <1@x.example>\r\n\r\nHello\r\n'),
  Buffer.from('Subject: Fwd: first\r\nReferences: <1@x.example>\r\nMessage-ID: <2@x.example>\r\n\r\nSee below\r\n'),
  Buffer.from('Subject: Re: lost\r\nIn-Reply-To: <0@x.example>\r\nMessage-ID: <3@x.example>\r\n\r\nWell\r\n'),
  Buffer.from(
    'Subject: file\r\nMessage-ID: <4@x.example>\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nhello\r\n',
  ),
  large(1),
  large(2),
];

const reply = [
  'From: ada@x.example',
  'Subject: Re: first',
  'In-Reply-To: <1@x.example>',
  'Content-Type: application/pdf; name=a.pdf',
  'Content-Disposition: attachment; filename=a.pdf',
  '',
  'More',
  '',
].join('\r\n');

test.each([
  ['on the whole database', wholeDatabase],
  ['table by table', tableByTable],
])('with rights given %s the daemon and every command work', { timeout: 120_000 }, async (_how, grants) => {
  const { asRoot, url, name } = await database(grants);
  await using cli = await openCommandLine({
    TICKETMAILD_DATABASE_URL: url,
    TICKETMAILD_POLL_INTERVAL_S: '1',
    TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1',
    TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1',
    TICKETMAILD_CONFIG: oauth.configFile,
  });
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', firstMessages);
  const commands = asker(cli);
  await mariadb.query("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = 1; TRUNCATE mysql.general_log;");
  await everydayCommands(commands, cli, user);
  await quarantineCommands(commands, cli, asRoot);
  await adminPage(commands, name);
  await grantCalls(name);
  await grantCommands(commands, cli);
  {
    await using daemon = startDaemon(['run'], { env: cli.env });
    await daemon.waitFor(({ event }) => event === 'daemon.ready');
    await encryptionCommands(commands, cli, [
      () => asRoot('UPDATE NAME.encryption_switch SET revision = revision + 1;'),
      () => asRoot('DELETE FROM NAME.encryption_switch;'),
    ]);
    await dovecot.append(user, 'INBOX', [Buffer.from(reply)]);
    await daemon.waitFor(({ event }) => event === 'message.reply_added');
    await commands.ask('mailbox retry desk');
    daemon.signal('SIGTERM');
    expect((await daemon.exit).code).toBe(0);
    expect(daemon.lines.filter((line) => JSON.stringify(line).includes('database_denied'))).toEqual([]);
  }
  await otherCommands(commands, cli);
  expect(await unusedRights(grants)).toEqual([]);
  expect(commandNames().filter((name) => !commands.asked.has(name) && !notAsked.includes(name))).toEqual([]);
});

test('enabling encryption without the right to rebuild its tables fails with a hint, and the same command completes it', {
  timeout: 120_000,
}, async () => {
  const { url, asRoot } = await database('GRANT SELECT, INSERT, UPDATE, DELETE ON NAME.* TO WHO;');
  await using cli = await openCommandLine({ TICKETMAILD_DATABASE_URL: url });
  const enable = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];
  const refused = await cli.run(enable);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('ALTER command denied') });
  await asRoot(rebuilding);
  expect(await cli.run(enable)).toMatchObject({ code: 0, out: expect.stringContaining('encryption is on') });
});

describe('programs beside the daemon', () => {
  /** A database with the tickets of one mailbox; SQL runs as a user with `grants`. */
  async function beside(grants: string) {
    const { asRoot, url, name } = await database(wholeDatabase);
    await using cli = await openCommandLine({ TICKETMAILD_DATABASE_URL: url });
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', firstMessages.slice(0, 4));
    const { ask } = asker(cli);
    const server = `--host localhost --port ${dovecot.tlsPort} --ca-file ${dovecot.caFile} --user ${user} --since all`;
    await ask(`mailbox add --name desk ${server} --password-stdin`, password);
    await ask('poll desk');
    const who = `${name}_beside`;
    await mariadb.query(`CREATE USER ${who}@localhost IDENTIFIED BY 'pw';`);
    await mariadb.query(grants.replaceAll('NAME', name).replaceAll('WHO', `${who}@localhost`));
    const run = (sql: string) =>
      runProgram('mariadb', ['--no-defaults', `-u${who}`, '-ppw', `--socket=${mariadb.socketPath}`, '-NB', name], {
        input: sql,
      });
    return { run, asRoot, who };
  }

  const secrets = [
    'SELECT password FROM mailboxes',
    'SELECT * FROM mailboxes',
    'SELECT * FROM reply_key',
    'SELECT * FROM admin_account',
    'SELECT * FROM admin_session',
    'SELECT * FROM encryption_switch',
    'SELECT refresh FROM oauth_grant',
    'SELECT * FROM oauth_grant',
    'SELECT access FROM oauth_access',
  ];
  const writes = [
    "UPDATE ticket SET subject = 'x'",
    'DELETE FROM outcome',
    "UPDATE outcome SET outcome = 'recorded'",
    'DELETE FROM audit',
    "INSERT INTO audit (action) VALUES ('x')",
    "UPDATE message SET body_text = 'x'",
    'ALTER TABLE mailboxes ADD x int',
  ];

  test('a reporter reads tickets and the names of mailboxes, and nothing secret; it writes nothing', async () => {
    const { run } = await beside(reporter);
    const query = `SELECT t.ref, m.subject, b.name, o.outcome FROM ticket t JOIN message m ON m.ticket_id = t.id
      JOIN mailboxes b ON b.id = t.mailbox_id JOIN outcome o ON o.ticket_id = t.id WHERE m.subject = 'first';`;
    expect(await run(query)).toContain('first\tdesk');
    for (const table of ['attachment', 'ticket_link', 'audit']) await run(`SELECT * FROM ${table}`);
    const helpdeskWrites = ["UPDATE ticket SET status = 'closed'", "UPDATE mailboxes SET state = 'paused'"];
    for (const sql of [...secrets, ...writes, ...helpdeskWrites]) await expect(run(sql), sql).rejects.toThrow('denied');
  });

  test('a helpdesk closes and deletes tickets, and writes mailboxes and passwords, which it cannot read', async () => {
    const { run, asRoot } = await beside(reporter + helpdesk);
    await run("UPDATE ticket SET status = 'closed', closed_at = utc_timestamp(3);");
    await run(`INSERT INTO mailboxes (name, host, username, password) VALUES ('new', 'mail.example', 'u', 'pw-9');
      UPDATE mailboxes SET password = 'pw-8', password_form = 'plain' WHERE name = 'new';
      UPDATE mailboxes SET state = 'paused' WHERE name = 'new';`);
    expect(await asRoot("SELECT password, state FROM NAME.mailboxes WHERE name = 'new';")).toBe('pw-8\tpaused\n');
    await run(`INSERT INTO sent_message (message_id, ticket_id) SELECT 'sent@desk.example', id FROM ticket LIMIT 1;
      DELETE FROM sent_message WHERE sent_at < utc_timestamp() - INTERVAL 1 YEAR OR ticket_id = 'gone';`);
    expect(await run('SELECT message_id FROM sent_message')).toBe('sent@desk.example\n');
    await run(`DELETE FROM mailboxes WHERE name = 'new'; START TRANSACTION;
      DELETE sent_message FROM sent_message JOIN ticket ON ticket.id = sent_message.ticket_id;
      DELETE message_reference FROM message_reference JOIN message ON message.id = message_reference.message_id;
      DELETE attachment FROM attachment JOIN message ON message.id = attachment.message_id;
      DELETE FROM message WHERE ticket_id IS NOT NULL; DELETE FROM ticket; DELETE FROM ticket_link; COMMIT;`);
    expect(await asRoot('SELECT count(*) FROM NAME.ticket;')).toBe('0\n');
    for (const sql of [...secrets, ...writes]) await expect(run(sql), sql).rejects.toThrow('denied');
  });

  test('a helpdesk stores refresh tokens, which it cannot read, and follows the state of their grants', async () => {
    const { run, asRoot } = await beside(reporter + helpdesk + grantWriter);
    await run(`INSERT INTO oauth_grant (name, provider, account, refresh) VALUES ('g', 'google', 'u@x.example', 'rt-1');
      UPDATE oauth_grant SET refresh = 'rt-2', refresh_form = 'plain', state = 'ready', retry_at = NULL WHERE name = 'g';
      INSERT INTO mailboxes (name, host, username, auth, grant_name) VALUES ('new', 'imap.example', 'u', 'oauth', 'g');`);
    expect(await asRoot("SELECT refresh, flow FROM NAME.oauth_grant WHERE name = 'g';")).toBe('rt-2\tperson\n');
    expect(await run("SELECT provider, state, error_code FROM oauth_grant WHERE name = 'g'")).toContain('ready');
    const more = ['DELETE FROM oauth_grant', "UPDATE oauth_grant SET provider = 'x'", 'DELETE FROM oauth_access'];
    for (const sql of [...secrets, ...writes, ...more]) await expect(run(sql), sql).rejects.toThrow('denied');
  });
});
