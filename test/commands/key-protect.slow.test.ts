import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Answers, type CommandLine, openCommandLine, type Ran } from './command-line.ts';

let cli: CommandLine;
let keyFile: string;

beforeEach(async () => {
  cli = await openCommandLine();
  keyFile = join(cli.dataDir, 'encryption-key.bin');
});

afterEach(async () => {
  cli.expectNothingLeaked([secret, passphrase]);
  await cli[Symbol.asyncDispose]();
});

const secret = 'Zucker-und-Salz-91';
const passphrase = 'three blind mice and a cat';
const enabling = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared', '--json'];
const keyId = expect.stringMatching(/^[0-9a-f]{16}$/);

async function addMailbox(name: string): Promise<void> {
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', '--name', name, ...server], secret)).toMatchObject({ code: 0 });
}

async function enable(): Promise<string> {
  const { code, json } = await cli.run(enabling);
  expect(code).toBe(0);
  return String(json[0]?.key_id);
}

async function actions(): Promise<unknown[]> {
  return (await cli.run(['encryption', 'log', '--json'])).json.map(({ action }) => action);
}

/** The one object that a command printed. */
function only({ json }: Ran): Record<string, unknown> {
  expect(json).toHaveLength(1);
  return json[0] ?? {};
}

describe('key protect and unprotect', () => {
  test('need a key file, before a passphrase is asked for', async () => {
    expect(await cli.run(['key', 'protect', '--passphrase-stdin'], passphrase)).toMatchObject({
      code: 1,
      err: `there is no key file at ${keyFile}\nhint: ${'Restore the key file from its backup; where ticketmaild status shows the vault as orphaned, run ticketmaild key recover.'}\n`,
    });
    expect(await cli.run(['key', 'unprotect'])).toMatchObject({ code: 1 });
  });

  test('wrap the key file, warn when no daemon could open it, and take that off again', async () => {
    await addMailbox('one');
    const id = await enable();
    const protecting = await cli.run(['key', 'protect', '--passphrase-stdin'], `${passphrase}\n`);
    expect(protecting.code).toBe(0);
    expect(protecting.err).toMatch(/^warning: the configuration names no \[encryption\] passphrase_file/);
    expect(protecting.out).toContain('passphrase_file');
    expect(protecting.out).toContain('ticketmaild-key-passphrase');
    expect((await readFile(keyFile)).toString('latin1')).toMatch(/^age-encryption.org\/v1/);
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);

    // Without a terminal there is no prompt.
    expect(await cli.run(['mailbox', 'test', 'one'])).toMatchObject({ code: 1 });
    expect(only(await cli.run(['key', 'show', '--json']))).toMatchObject({
      ...{ state: 'refused', protected: true, key_ids: null, problem: { code: 'key_file_locked' } },
    });
    expect(await cli.run(['key', 'protect', '--passphrase-stdin'], 'x')).toMatchObject({
      code: 3,
      err: expect.stringContaining('key unprotect'),
    });
    const question = 'Passphrase of the key file: ';
    const shown = await cli.typed(['key', 'show', '--json'], [[question, `${passphrase}\r`]]);
    expect(only(shown)).toMatchObject({ state: 'ok', protected: true, key_ids: [id] });

    const unprotecting = await cli.typed(['key', 'unprotect', '--json'], [[question, `${passphrase}\r`]]);
    expect(only(unprotecting)).toEqual({ path: keyFile, protected: false, recorded: true });
    expect((await stat(keyFile)).size).toBe(32);
    expect((await actions()).slice(0, 2)).toEqual(['key.unprotected', 'key.protected']);
    expect(await cli.run(['key', 'unprotect'])).toMatchObject({ code: 3 });
  });

  test('ask twice at the prompt, and refuse two that differ', async () => {
    await cli.run(['migrate']);
    await enable();
    const [first, again] = ['New passphrase: ', 'Repeat it: '];
    const differing = await cli.typed(
      ['key', 'protect'],
      [
        [first, `${passphrase}\r`],
        [again, `${passphrase}s\r`],
      ],
    );
    expect(differing).toMatchObject({ code: 2, err: expect.stringContaining('the two passphrases are not the same') });
    expect((await stat(keyFile)).size).toBe(32);
    const agreeing = await cli.typed(
      ['key', 'protect', '--json'],
      [
        [first, `${passphrase}\r`],
        [again, `${passphrase}\r`],
      ],
    );
    expect(only(agreeing)).toEqual({ path: keyFile, protected: true, recorded: true });
  });

  test('with a passphrase file in the configuration nothing is asked and nothing is warned of', async () => {
    const file = join(cli.folder, 'passphrase');
    await writeFile(file, `${passphrase}\n`, { mode: 0o600 });
    await using configured = await openCommandLine({ TICKETMAILD_ENCRYPTION_PASSPHRASE_FILE: file });
    await configured.run(['migrate']);
    await configured.run(enabling);
    const { code, out, err } = await configured.run(['key', 'protect', '--passphrase-stdin'], passphrase);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain(`The daemon reads the passphrase from ${file}`);
    expect(only(await configured.run(['key', 'show', '--json']))).toMatchObject({ key_ids: [keyId], protected: true });
    expect(await configured.run(['encryption', 'rotate', '--json'])).toMatchObject({ code: 0 });
    expect(only(await configured.run(['key', 'show', '--json']))).toMatchObject({ key_ids: [keyId], protected: true });
    configured.expectNothingLeaked([passphrase]);
  });
});

test('at a terminal the passphrase is asked for once, before anything else, however often the key is needed', async () => {
  await addMailbox('one');
  await enable();
  await cli.run(['key', 'protect', '--passphrase-stdin'], passphrase);
  const question = 'Passphrase of the key file: ';
  const once: Answers = [[question, `${passphrase}\r`]];
  expect(only(await cli.typed(['encryption', 'rotate', '--json'], once))).toMatchObject({
    former_key_retained: false,
  });
  const typed = await cli.typed(
    ['mailbox', 'set-password', '--no-probe', 'one'],
    [...once, ['Is this your mail server? [y/N]', 'y\n'], ['Password of "desk": ', `${secret}\r`]],
  );
  expect(typed).toMatchObject({ code: 0 });
  expect(only(await cli.typed(['mailbox', 'show', 'one', '--json'], once))).toMatchObject({ password_form: 'sealed' });

  const nothing = await cli.typed(['encryption', 'rotate'], [[question, '\r']]);
  expect(nothing).toMatchObject({ code: 1, err: expect.stringMatching(/no passphrase is given\nhint: .+\n$/) });
  expect(nothing.err.match(/Passphrase/g)).toHaveLength(1);
  const wrong = await cli.typed(['mailbox', 'test', 'one'], [[question, 'three blind cats\r']]);
  expect(wrong).toMatchObject({ code: 1, err: expect.stringMatching(/the passphrase is wrong\nhint: .+\n$/) });
});
