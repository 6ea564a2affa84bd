/**
 * A thief of the database tries what people type into a key file and a passphrase prompt; neither is taken into use.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { importKey } from '../../../src/secret/key.ts';
import { sealSwitchRow } from '../../../src/secret/switch.ts';
import { type CommandLine, openCommandLine } from '../../commands/command-line.ts';

const enabling = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared', '--json'];
const typed = 'our-helpdesk-password-is-secret!';

let cli: CommandLine;
let keyFile: string;

beforeEach(async () => {
  cli = await openCommandLine();
  keyFile = join(cli.dataDir, 'encryption-key.bin');
  await mkdir(cli.dataDir, { recursive: true });
});

afterEach(() => cli[Symbol.asyncDispose]());

describe('a key file of 32 typed characters', () => {
  test('is refused by enable, with the file, the reason and the remedy, and nothing is sealed under it', async () => {
    await writeFile(keyFile, typed, { mode: 0o600 });
    const refused = await cli.run(enabling);
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/encryption-key\.bin: key [0-9a-f]{16} is not random: it consists of text/);
    expect(refused.err).toContain(`mv ${keyFile} ${keyFile}.weak`);
    expect((await cli.run(['encryption', 'status', '--json'])).json[0]).toMatchObject({ state: 'off' });
    expect(refused.err).not.toContain(typed);
  });

  test('is no backup for key verify, which says so', async () => {
    expect(await cli.run(enabling)).toMatchObject({ code: 0 });
    const copy = join(cli.folder, 'copy.bin');
    await writeFile(copy, typed);
    const verified = await cli.run(['key', 'verify', copy]);
    expect(verified.code).toBe(1);
    expect(verified.err).toContain('is not random: it consists of text');
  });

  test('that is in use already keeps working, fails check, and is replaced by rotate', async () => {
    await writeFile(keyFile, typed, { mode: 0o600 });
    await cli.run(['migrate']);
    await cli.run(['encryption', 'status']);
    await useKey();
    const checked = await cli.run(['check']);
    expect(checked.code).toBe(1);
    expect(checked.out).toMatch(/failed {2}key file: .*is not random: it consists of text/);
    expect(checked.out).toContain('ticketmaild encryption rotate');
    const shown = await cli.run(['encryption', 'status']);
    expect(`${shown.out}${shown.err}`).toContain(
      'the key file has a key that is not random, so that it can be guessed',
    );
    expect(await cli.run(['encryption', 'rotate', '--json'])).toMatchObject({ code: 0 });
    expect((await readFile(keyFile)).includes(typed)).toBe(false);
    expect((await cli.run(['check'])).out).toMatch(/ok {6}key file/);
  });
});

/** As an earlier version took it into use. */
async function useKey(): Promise<void> {
  await using app = await cli.open();
  await app.migrations.apply();
  const key = importKey(Buffer.from(typed));
  const change = {
    state: 'on',
    keyId: key.id,
    nextKeyId: null,
    revision: 1,
    changedAtMs: 1,
    changedBy: 'ada@desk',
  } as const;
  await app.store.writeSwitch(sealSwitchRow(change, key), 0, []);
}

describe('a passphrase for the key file', () => {
  test.each([['a'], ['hunter2'], ['aaaaaaaaaaaaaaaaaaaa'], ['abababababababab']])(
    '%j is refused',
    async (passphrase) => {
      expect(await cli.run(enabling)).toMatchObject({ code: 0 });
      const before = await readFile(keyFile);
      const refused = await cli.run(['key', 'protect', '--passphrase-stdin'], passphrase);
      expect(refused.code).toBe(2);
      expect(refused.err).toMatch(/the passphrase (is too short: at least 12 bytes|repeats itself)/);
      expect((await readFile(keyFile)).equals(before)).toBe(true);
      expect(existsSync(`${keyFile}.tmp`)).toBe(false);
    },
  );
});
