/**
 * Hints as they are typed: every command in the hint of an error code, of the catalogue and of a quarantine reason is
 * one of the program, whole, and parses once its placeholders are filled.
 */
import { spawnSync } from 'node:child_process';
import { CommanderError } from 'commander';
import { describe, expect, test } from 'vitest';
import { listedCommands } from '../../src/commands/help/help.ts';
import { buildProgram } from '../../src/commands/program.ts';
import { failureMeanings } from '../../src/errors.ts';
import { describeReason, quarantineReasons } from '../../src/ingest/quarantine/reasons.ts';
import { hints, withMailboxName } from '../../src/text/hints.ts';

const program = () =>
  buildProgram(
    async () => undefined,
    () => undefined,
  );
const paths = listedCommands(program()).map(({ path }) => path);

const all: readonly (readonly [where: string, hint: string])[] = [
  ...Object.entries(failureMeanings).map(([code, { hint }]) => [`errors ${code}`, hint] as const),
  ...Object.entries(hints).map(([name, hint]) => [`hints ${name}`, hint] as const),
  ...quarantineReasons.map((reason) => [`reasons ${reason}`, describeReason(reason).hint] as const),
];

/** Words after `ticketmaild`, up to the first that belongs to the sentence. */
function commandsIn(hint: string): readonly (readonly string[])[] {
  return [...hint.matchAll(/(?<![\w./-])ticketmaild (?=[a-z-])/g)].flatMap(({ index }) => {
    const words = hint.slice(index).split(' ').slice(1);
    const taken: string[] = [];
    for (const word of words) {
      const [bare = ''] = /^[\w:-]*/.exec(word) ?? [];
      const path = [...taken, bare].join(' ');
      const isPath = paths.some((one) => one === path || one.startsWith(`${path} `));
      const isValue = taken.at(-1)?.startsWith('--') === true && !/^--(repair|event)$/.test(taken.at(-1) ?? '');
      if (bare === '' || !(isPath || /^--|^[A-Z]+$/.test(bare) || isValue || taken.at(-1) === '--event')) break;
      taken.push(word.replace(/[.,;:)]+$/, ''));
      if (taken.at(-1) !== word) break;
    }
    return taken.length === 0 ? [] : [taken];
  });
}

const filled: Readonly<Record<string, string>> = { NAME: 'support', ID: 'support/1700000000/42', HOST: 'mail.example' };

/** null: it parses. */
async function refusal(words: readonly string[]): Promise<string | null> {
  try {
    await program().parseAsync(['node', 'ticketmaild', ...words.map((word) => filled[word] ?? word)]);
    return null;
  } catch (error) {
    if (error instanceof CommanderError) return error.code;
    throw error;
  }
}

/** Commands that a sentence names, and whose arguments only the reader knows. */
const mentioned = ['database copy', 'mailbox add', 'mailbox add --oauth PROVIDER', 'mailbox set'];

const withCommands = all.filter(([, hint]) => commandsIn(hint).length > 0);

describe('the commands of a hint', () => {
  test.each(withCommands)('%s', async (_where, hint) => {
    for (const words of commandsIn(hint)) {
      if (mentioned.includes(words.join(' '))) expect(paths).toContain(words.slice(0, 2).join(' '));
      else expect([words, await refusal(words)]).toEqual([words, null]);
    }
  });

  test('are found', () => {
    expect(withCommands.length).toBeGreaterThan(50);
    expect(commandsIn('Set it: ticketmaild mailbox set NAME --host HOST. See ticketmaild status there.')).toEqual([
      ['mailbox', 'set', 'NAME', '--host', 'HOST'],
      ['status'],
    ]);
  });
});

test.each(all)('%s has no command without the name of the program', (_where, hint) => {
  const groups = paths.filter((path) => path.includes(' ')).join('|');
  expect(hint.match(new RegExp(`(?<!ticketmaild )\\b(?:${groups})\\b`, 'g')) ?? []).toEqual([]);
});

test.each(["o'hara & sons", '-x', '$(reboot)'])('the mailbox %s is one argument of a shell', (name) => {
  const commands = withCommands.flatMap(([, hint]) => commandsIn(hint)).filter(([group]) => group !== 'oauth');
  for (const words of commands.filter((one) => one.includes('NAME'))) {
    const command = withMailboxName(`ticketmaild ${words.join(' ')}`, name);
    const run = spawnSync('sh', ['-c', `ticketmaild() { printf '%s\\0' "$@"; }\n${command}`], { encoding: 'utf8' });
    const given = run.stdout.split('\0').slice(0, -1);
    const isOption = name.startsWith('-');
    expect(given.filter((word) => word !== '--')).toHaveLength(words.length);
    expect(isOption ? given.at(-1) : given[words.indexOf('NAME')]).toBe(name);
  }
});
