/** Completion in real shells. */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { completionScript } from '../../../src/commands/completion/completion.ts';
import { buildProgram } from '../../../src/commands/program.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import { type CommandLine, openCommandLine } from '../command-line.ts';
import { completedLines, offered, type Setting, type ShellName, shellNames } from './shells.ts';

let folder: TemporaryFolder;
const hostile = [
  'sup;touch pwned',
  '$(touch pwned)x',
  "it's",
  'a:b',
  'back\\slash',
  '`touch pwned`y',
  '"dq',
  '*',
  '~root',
];

/** A folder with a program that prints names, as another one would, and the scripts. */
beforeAll(async () => {
  folder = await temporaryFolder('completion');
  const names = ['support', 'sales', 'two words', 'desk@example.org', ...hostile];
  const program = `#!/bin/sh
[ "$1" = complete-names ] || exit 1
case "$2 $3" in
  'mailboxes ') cat "$(dirname "$0")/names" ;;
  'mailboxes --config=other.toml') echo other ;;
  'providers ') echo microsoft ;;
  'grants ') echo person ;;
  'admins ') echo ada ;;
esac
`;
  mkdirSync(join(folder.path, 'src/sub'), { recursive: true });
  writeFileSync(join(folder.path, 'src/names'), `${names.join('\n')}\n`);
  writeFileSync(join(folder.path, 'src/ticketmaild'), program);
  chmodSync(join(folder.path, 'src/ticketmaild'), 0o755);
  const commands = buildProgram(
    async () => undefined,
    () => undefined,
  );
  for (const shell of shellNames) writeFileSync(join(folder.path, shell), completionScript(shell, commands));
});

afterAll(() => folder[Symbol.asyncDispose]());

function setting(shell: ShellName): Setting {
  const env = { PATH: `${join(folder.path, 'src')}:${process.env['PATH']}`, HOME: folder.path, LC_ALL: 'C.UTF-8' };
  return { cwd: folder.path, env, script: join(folder.path, shell) };
}

/** Without the escapes of bash and zsh. */
function unescaped(word: string): string {
  return word.replaceAll(/\\(.)/g, '$1');
}

async function candidates(shell: ShellName, line: string): Promise<readonly string[]> {
  const [words = []] = await offered(shell, [line], setting(shell));
  return words.map((word) => (shell === 'fish' ? word : unescaped(word)));
}

describe.each(shellNames)('%s', (shell) => {
  test('offers commands, options, choices and names', async () => {
    const lines = {
      'ticketmaild mail': ['mailbox'],
      'ticketmaild mailbox p': ['pause'],
      'ticketmaild mailbox add --tls ': ['implicit', 'none', 'starttls'],
      'ticketmaild mailbox add --on-s': ['--on-success'],
      'ticketmaild mailbox show sa': ['sales'],
      'src/ticketmaild mailbox show sa': ['sales'],
      './src/ticketmaild poll sal': ['sales'],
      'ticketmaild message list --full --mailbox sal': ['sales'],
      'ticketmaild mailbox pause --config other.toml ': ['other'],
      'ticketmaild --config other.toml mailbox set ': ['other'],
      'ticketmaild oauth test ': ['microsoft', 'person'],
      'ticketmaild oauth revoke ': ['person'],
      'ticketmaild mailbox add --oauth ': ['microsoft'],
      'ticketmaild admin remove ': ['ada'],
      'ticketmaild help mailbox pa': ['pause'],
      'ticketmaild log-level ': ['debug', 'error', 'info', 'trace', 'warn'],
      'ticketmaild completion ': ['bash', 'fish', 'zsh'],
      'ticketmaild quarantine requeue --reason too': ['too_large'],
      'ticketmaild mailbox show -- --j': [],
      'ticketmaild mailbox show sales ': [],
      'ticketmaild complete-n': [],
    };
    const words = await offered(shell, Object.keys(lines), setting(shell));
    const named = Object.keys(lines).map((line, index) => [line, [...(words[index] ?? [])].sort()]);
    expect(Object.fromEntries(named)).toEqual(lines);
  });

  test('offers a value after an equals sign', async () => {
    const [word] = await candidates(shell, 'ticketmaild mailbox add --tls=star');
    expect(word?.replace('--tls=', '')).toBe('starttls');
  });

  test('offers files and folders', async () => {
    const [files, folders] = await offered(
      shell,
      ['ticketmaild key backup ', 'ticketmaild quarantine export --all --folder '],
      setting(shell),
    );
    const shown = {
      bash: [['(default)'], ['(dirnames)']],
      zsh: [['(files)'], ['(files-/)']],
      fish: [expect.arrayContaining(['bash', 'src/']), ['src/']],
    };
    expect([files, folders]).toEqual(shown[shell]);
  });

  test('names from the database arrive as they are, and nothing of them runs', async () => {
    const all = await candidates(shell, 'ticketmaild mailbox show ');
    expect([...all].sort()).toEqual(['support', 'sales', 'two words', 'desk@example.org', ...hostile].sort());
    expect(existsSync(join(folder.path, 'pwned'))).toBe(false);
  });

  test('a program that fails, or is not there, offers no names', async () => {
    const words = await offered(
      shell,
      ['nowhere/ticketmaild mailbox show ', 'ticketmaild mailbox pause --config missing '],
      setting(shell),
    );
    expect(words).toEqual([[], []]);
  });
});

test.each(['bash', 'zsh'] as const)('%s: Tab inserts the rest of a name', async (shell) => {
  const lines = {
    'src/ticketmaild mailbox show desk@ex': 'src/ticketmaild mailbox show desk@example.org',
    'ticketmaild mailbox show tw': 'ticketmaild mailbox show two\\ words',
    'ticketmaild mailbox show a:': 'ticketmaild mailbox show a:b',
    'ticketmaild mailbox add --tls=star': 'ticketmaild mailbox add --tls=starttls',
  };
  expect(await completedLines(shell, Object.keys(lines), setting(shell))).toEqual(Object.values(lines));
  expect(existsSync(join(folder.path, 'pwned'))).toBe(false);
});

describe('complete-names', () => {
  let cli: CommandLine;

  beforeAll(async () => {
    cli = await openCommandLine();
    const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
    for (const name of ['support', 'sales'])
      expect(await cli.run(['mailbox', 'add', '--name', name, ...server], 'pw')).toMatchObject({ code: 0 });
  });

  afterAll(() => cli[Symbol.asyncDispose]());

  test('prints names, without what a terminal or an option parser would take for something else', async () => {
    expect(await cli.run(['complete-names', 'mailboxes'])).toMatchObject({ code: 0, out: 'sales\nsupport\n', err: '' });
    cli.sql(
      "update mailboxes set name = char(27) || '[31mred' where name = 'sales'",
      "update mailboxes set name = '-x' where name = 'support'",
    );
    expect(await cli.run(['complete-names', 'mailboxes'])).toMatchObject({ code: 0, out: '', err: '' });
    cli.sql("update mailboxes set name = 'a' || char(10) || 'b'  where name = '-x'");
    expect(await cli.run(['complete-names', 'mailboxes'])).toMatchObject({ code: 0, out: '', err: '' });
  });

  test.each([
    ['an unknown kind', ['complete-names', 'passwords']],
    ['a file that is not there', ['complete-names', 'mailboxes', '--config', '/nowhere.toml']],
  ])('%s: nothing, exit code 0', async (_, args) => {
    expect(await cli.run(args)).toMatchObject({ code: 0, out: '', err: '' });
  });

  test('creates no database, and asks for no passphrase', async () => {
    await using fresh = await openCommandLine();
    expect(await fresh.typed(['complete-names', 'mailboxes'], [])).toMatchObject({ code: 0, out: '', err: '' });
    expect(existsSync(join(fresh.dataDir, 'ticketmaild.db'))).toBe(false);
  });

  test('gives up after a second on a database that does not answer', async () => {
    const { createServer } = await import('node:net');
    const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await new Promise((listening) => server.once('listening', listening));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await using own = await openCommandLine({ TICKETMAILD_DATABASE_URL: `mysql://u:p@127.0.0.1:${port}/x` });
    const startedAtMs = performance.now();
    expect(await own.run(['complete-names', 'mailboxes'])).toMatchObject({ code: 0, out: '', err: '' });
    expect(performance.now() - startedAtMs).toBeLessThan(2500);
    server.close();
  });
});

test('the command prints the script, and names the shells that there are', async () => {
  await using cli = await openCommandLine();
  const { code, out } = await cli.run(['completion', 'bash']);
  expect({ code, out }).toEqual({ code: 0, out: expect.stringContaining('complete -F _ticketmaild ticketmaild\n') });
  expect(await cli.run(['completion', 'tcsh'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('bash, zsh, fish'),
  });
});
