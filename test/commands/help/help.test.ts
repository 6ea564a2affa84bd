import { expect, test } from 'vitest';
import { examplesOf, leafCommands, listedCommands } from '../../../src/commands/help/help.ts';
import { buildProgram } from '../../../src/commands/program.ts';
import { runInProcess } from '../command-line.ts';

function program() {
  return buildProgram(
    async () => undefined,
    () => undefined,
  );
}

const leaves = leafCommands(program()).map(({ path }) => path);

/** The words of an example, as a shell splits them; examples have no quotes. */
function wordsOf(example: string): readonly string[] {
  return example.replaceAll('\\\n', '').replace(/ >.*$/, '').split(/\s+/);
}

test.each(leaves)('%s: its help has examples that the parser takes', async (path) => {
  const examples = examplesOf(path);
  expect(examples.length).toBeGreaterThan(0);
  const { code, out } = await runInProcess(['help', ...path.split(' ')]);
  expect(code).toBe(0);
  for (const example of examples) {
    expect(out).toContain(`ticketmaild ${example.split('\n')[0]}`);
    let called = false;
    const parser = buildProgram(
      async () => {
        called = true;
      },
      () => undefined,
    );
    const words = wordsOf(example);
    await parser.parseAsync(words, { from: 'user' }).catch((error: { exitCode?: number }) => {
      called = error.exitCode === 0;
    });
    expect({ example, called }).toEqual({ example, called: true });
  }
});

test('examples belong to commands that exist', async () => {
  const { examples } = await import('../../../src/commands/help/examples.ts');
  expect(Object.keys(examples).filter((path) => !leaves.includes(path))).toEqual([]);
});

test('a group prints its help, also for help and -h', async () => {
  const groups = listedCommands(program()).filter(({ command }) => command.commands.length > 0);
  expect(groups.length).toBeGreaterThan(5);
  for (const { path } of groups) {
    const [alone, short, long] = await Promise.all(
      [[path], [path, '-h'], ['help', path]].map((args) => runInProcess(args)),
    );
    expect(alone).toMatchObject({ code: 0, err: '' });
    expect(short).toEqual(alone);
    expect(long).toEqual(alone);
  }
});

test('help fits 80 columns, but for examples to copy', async () => {
  for (const { path } of listedCommands(program())) {
    const { out } = await runInProcess(['help', ...path.split(' ')]);
    const [help = ''] = out.split('\nExample');
    expect(help.split('\n').filter((line) => line.length > 80)).toEqual([]);
  }
});
