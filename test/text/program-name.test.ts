/**
 * The name of the program in commands for people: hints, help and pages show the path of the wrapper; quoted arguments,
 * units, files and JSON keep the canonical name.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { logEntryLines } from '../../src/adapters/terminal/log-lines.ts';
import { styledText } from '../../src/adapters/terminal/text-layout.ts';
import { encryptionPage } from '../../src/adapters/web/pages/encryption.ts';
import { overviewPage } from '../../src/adapters/web/pages/overview.ts';
import { buildProgram } from '../../src/commands/program.ts';
import { plaintextRemnants } from '../../src/encryption/remnants.ts';
import { asRunHere, commandWords, hintText, nameProgram, programName } from '../../src/text/program-name.ts';
import { shellCommand } from '../../src/text/shell.ts';
import { frame, pages } from '../adapters/web/pages/views.ts';
import { on } from '../adapters/web/pages/views-encryption.ts';
import { overviewBroken } from '../adapters/web/pages/views-mail.ts';

const hostile = [
  ...['$(reboot)/ticketmaild', '`reboot`/ticketmaild', 'a b/ticketmaild', './ticketmaild;reboot', './ticketmaild\n'],
  ...['./x\n/ticketmaild', '\x1b[2J/ticketmaild', "'/ticketmaild", '"/ticketmaild', '~/ticketmaild', 'ü/ticketmaild'],
  ...['../x/rm', './ticketmaild.js', 'ticketmaild', '', `${'a'.repeat(4096)}/ticketmaild`],
];

const bare = new RegExp(`(?<![\\w./-])ticketmaild (${commandWords.join('|')})(?![\\w-])`);
const name = 'src/ticketmaild';

test('anything but a short, safe path to the wrapper is ignored', () => {
  for (const path of hostile) {
    nameProgram(name);
    nameProgram(path);
    expect(programName()).toBe('ticketmaild');
  }
  expect(asRunHere('See ticketmaild status.')).toBe('See ticketmaild status.');
});

test.each(['./ticketmaild', '../src/ticketmaild', '/opt/tm-1.2_3/src/ticketmaild', name])('%s is shown', (path) => {
  nameProgram(path);
  expect(programName()).toBe(path);
  expect(hintText('See ticketmaild status.')).toBe(`hint: See ${path} status.`);
});

afterEach(() => nameProgram(''));

beforeAll(() => {
  const commands = helped().commands.map((one) => one.name());
  expect(commandWords.filter((word) => /^[a-z]/.test(word)).toSorted()).toEqual(
    commands.filter((one) => one !== 'complete-names').toSorted(),
  );
});

function helped() {
  return buildProgram(
    async () => undefined,
    () => undefined,
  );
}

test('commands alone are replaced, never files, units, prose or quoted arguments', () => {
  nameProgram(name);
  const unchanged = [
    ...['Edit ticketmaild.toml.', 'Run: systemctl reload ticketmaild', 'See journalctl -u ticketmaild, and the log.'],
    ...['This is a defect of ticketmaild: report it.', 'Is ticketmaild running already?', 'sudo ticketmaild …'],
    ...['/usr/local/bin/ticketmaild status', 'ticketmaild-status', `See ${name} status.`, 'my-ticketmaild status'],
    ...["Delete '/x y/ticketmaild status'.", 'There is none named "ticketmaild mailbox list".', 'ticketmaild runs'],
  ];
  for (const text of unchanged) expect(asRunHere(text)).toBe(text);
  expect(asRunHere('docker logs NAME | ticketmaild logs; (ticketmaild --version) or ticketmaild COMMAND')).toBe(
    `docker logs NAME | ${name} logs; (${name} --version) or ${name} COMMAND`,
  );
});

test.each([
  ...['ticketmaild mailbox list', "it's ticketmaild key show", 'a\\b ticketmaild key show', "' ticketmaild status '"],
])('a mailbox named %s keeps its name in a command', (mailbox) => {
  const command = shellCommand('mailbox show', mailbox) ?? '';
  nameProgram(name);
  expect(asRunHere(`Check it: ${command}. Then go.`)).toBe(`Check it: src/${command}. Then go.`);
});

test('help names it in usage and examples', () => {
  nameProgram(name);
  const printed: string[] = [];
  const program = buildProgram(
    async () => undefined,
    (text) => printed.push(text),
  );
  expect(() => program.parse(['node', 'x', 'mailbox', 'pause', '--help'])).toThrow();
  expect(printed.join('')).toMatch(/^Usage: src\/ticketmaild mailbox pause /);
  expect(printed.join('')).toContain('\n  src/ticketmaild mailbox pause support\n');
  expect(printed.join('')).not.toMatch(bare);
});

test('a log line for people shows it in the hint, and no other field is changed', () => {
  nameProgram(name);
  const mailbox = 'ticketmaild mailbox list';
  const fields = { mailbox, error: { code: 'x', message: mailbox, hint: 'See ticketmaild status.' } };
  const lines = logEntryLines({ level: 'warn', timeMs: 0, event: 'poll.failed', fields });
  const [first, second] = lines.map((line) => styledText(line, false).trim());
  expect(first).toContain(`  ${mailbox}  x: ${mailbox}`);
  expect(second).toBe(`hint: See ${name} status.`);
});

test('every page shows its commands in this way', () => {
  nameProgram(name);
  const hint = 'Seal them: ticketmaild encryption enable';
  const failingChecks = [{ check: 'passwords' as const, isWarning: false, reason: 'They are readable.', hint }];
  const overview = () => overviewPage(frame, { ...overviewBroken, failingChecks });
  const remnants = plaintextRemnants({ kind: 'sqlite', path: '/data/ticketmaild.db' }, null, null);
  const encryption = () => encryptionPage(frame, { ...on, leftovers: remnants }, null);
  const texts = Object.entries({ ...pages, overview, encryption }).map(
    ([page, make]) => [page, make().replace(/<[^>]+>/g, '')] as const,
  );
  for (const [page, text] of texts) expect([page, bare.exec(text)]).toEqual([page, null]);
  expect(texts.filter(([, text]) => text.includes(`${name} `)).length).toBeGreaterThan(10);
});

test('a command prints no command as it stands in the code', () => {
  const folder = join(import.meta.dirname, '../../src/commands');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));
  const printed = files.flatMap((path) => [
    ...readFileSync(join(folder, path), 'utf8').matchAll(/terminal\.(?:note|line|prose|text)\((?:(?!\);\n).)*/gs),
  ]);
  expect(printed.length).toBeGreaterThan(100);
  const named = printed
    .map(([call]) => call)
    .filter((call) => bare.test(call) || /command(OrNotice|Line)\(/.test(call));
  expect(named.filter((call) => !/asRunHere|hintText/.test(call))).toEqual([]);
});
