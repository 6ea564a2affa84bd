/**
 * A command that stores a password while the switch is turned: its statement is held back on its way to a real MariaDB
 * until the operation has ended, or stands behind it. Afterwards no password is under a key that is gone.
 */
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { type CommandLine, openCommandLine } from '../command-line.ts';

const former = 'Zucker-und-Salz-91';
const secret = 'Kupfer-und-Zinn-17';
let mariadb: Mariadb;

beforeAll(async () => {
  mariadb = await startMariadb();
});

afterAll(async () => {
  await mariadb[Symbol.asyncDispose]();
});

type Hold = AsyncDisposable & { readonly port: number; readonly held: Promise<void>; release(): void };

/** The way to the server, which passes everything on until the first statement that is like `pattern`. */
async function holdAt(pattern: RegExp): Promise<Hold> {
  const [held, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const listener = createServer((client) => {
    const server = connect(mariadb.port, mariadb.host);
    server.on('data', (bytes) => client.write(bytes));
    let passing = Promise.resolve();
    client.on('data', (bytes) => {
      const isMet = pattern.test(bytes.toString('latin1'));
      if (isMet) held.resolve();
      passing = passing.then(() => (isMet ? released.promise : undefined)).then(() => void server.write(bytes));
    });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const)
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
  });
  await new Promise<void>((resolve) => listener.listen(0, mariadb.host, resolve));
  const address = listener.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    held: held.promise,
    release: () => released.resolve(),
    [Symbol.asyncDispose]: async () => {
      released.resolve();
      listener.close();
    },
  };
}

/** What each mailbox would log in with. */
async function openedOn(cli: CommandLine): Promise<readonly string[]> {
  await using app = await cli.open();
  await app.vault.refresh();
  const opened = (await app.store.listMailboxes()).map((mailbox) =>
    app.passwords.withPassword(mailbox, async (password) =>
      password.use((bytes) => Buffer.from(bytes).toString('latin1')),
    ),
  );
  return await Promise.all(opened);
}

const server = ['--host', 'mail.example', '--no-probe', '--password-stdin'];
const commands: readonly (readonly [name: string, args: readonly string[], after: readonly string[]])[] = [
  ['set-password', ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin'], [secret]],
  ['set', ['mailbox', 'set', 'one', '--user', 'other', '--no-probe', '--password-stdin'], [secret]],
  ['add', ['mailbox', 'add', '--name', 'two', '--user', 'other', ...server], [former, secret]],
];
const operations = [
  ['rotate', ['encryption', 'rotate'], 'sealed'],
  ['disable', ['encryption', 'disable', '--yes'], 'plain'],
] as const;
/** The first thing that a command does to write; and the writing, when it has the switch. */
const moments = {
  'before it has the switch': /encryption_switch`.* for update|(update|into) `mailboxes`/s,
  'when it writes': /(update|into) `mailboxes`/,
};

const stories = commands.flatMap(([name, args, after]) =>
  operations.flatMap(([operation, turn, form]) =>
    Object.entries(moments).map(([moment, pattern]) => ({ name, args, after, operation, turn, form, moment, pattern })),
  ),
);

type Story = (typeof stories)[number];
/** Each command once, each operation and each moment. */
const isShort = ({ operation, moment }: Story): boolean => (operation === 'rotate') === (moment === 'when it writes');

describe.each([
  { some: stories.filter((story) => isShort(story)), tags: [] },
  { some: stories.filter((story) => !isShort(story)), tags: ['long'] },
])('a stored password', ({ some, tags }) => {
  test.concurrent.each(some)('of mailbox $name, delayed $moment, during $operation', { tags }, race);
});

async function race(story: Story): Promise<void> {
  const { url } = await mariadb.createDatabase();
  await using hold = await holdAt(story.pattern);
  await using cli = await openCommandLine({ TICKETMAILD_DATABASE_URL: url });
  const { port } = hold;
  const slowUrl = url.replace(`:${mariadb.port}`, `:${port}`);
  await using slow = await openCommandLine({ TICKETMAILD_DATABASE_URL: slowUrl, TICKETMAILD_DATA_DIR: cli.dataDir });
  await cli.run(['mailbox', 'add', '--name', 'one', '--user', 'desk', ...server], former);
  const flags = ['--accept-key-loss', '--backup-prepared'];
  expect(await cli.run(['encryption', 'enable', ...flags])).toMatchObject({ code: 0 });
  expect(await cli.run(['mailbox', 'confirm', 'one', '--yes'])).toMatchObject({ code: 0 });

  const storing = slow.run(story.args, secret);
  await hold.held;
  const turning = cli.run(story.turn);
  // A command that has the switch is waited for.
  await Promise.race([turning, sleep(1500)]);
  hold.release();
  const [stored, turned] = await Promise.all([storing, turning]);
  expect(turned).toMatchObject({ code: 0 });
  // `mailbox set` changes no row that has become another since it was read, and says so.
  const isRefused = story.name === 'set' && story.moment === 'before it has the switch';
  expect(stored).toMatchObject(isRefused ? { code: 3, err: expect.stringContaining('at the same time') } : { code: 0 });
  expect(await openedOn(cli)).toEqual(isRefused ? [former] : story.after);
  const { json } = await cli.run(['mailbox', 'list', '--json']);
  expect(new Set(json.map((one) => one['password_form']))).toEqual(new Set([story.form]));
  cli.expectNothingLeaked([former, secret]);
  slow.expectNothingLeaked([former, secret]);
}
