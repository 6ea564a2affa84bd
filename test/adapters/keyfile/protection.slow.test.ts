import { randomBytes } from 'node:crypto';
import { chmod, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Decrypter, Encrypter } from 'age-encryption';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { wrapKeys } from '../../../src/adapters/keyfile/age.ts';
import { Failure } from '../../../src/errors.ts';
import { type KeySet, keyIds } from '../../../src/secret/key.ts';
import { runProgram } from '../../support/servers/programs.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import { runAge } from './age-tool.ts';
import {
  contentOf,
  copyTo,
  failureIn,
  failureOf,
  freshKeys,
  keyFileIn,
  keysIn,
  passphraseOf,
  pathIn,
  pause,
  said,
  testWorkFactor,
} from './setting.ts';

const right = 'correct horse battery staple';
const wrong = 'incorrect horse battery staple';
let folder: TemporaryFolder;
let path = '';

beforeEach(async () => {
  folder = await temporaryFolder('keys');
  path = pathIn(folder.path);
});

afterEach(() => folder[Symbol.asyncDispose]());

const wrapped = (keys: KeySet) => wrapKeys(keys, passphraseOf(right), testWorkFactor);
const write = (content: Uint8Array | string) => writeFile(path, content, { mode: 0o600 });
/** A file of the age library with any content. */
async function ageFile(content: Uint8Array): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(right);
  encrypter.setScryptWorkFactor(testWorkFactor);
  return await encrypter.encrypt(content);
}
const replaced = (content: Uint8Array, from: string | RegExp, to: string) =>
  Buffer.from(Buffer.from(content).toString('latin1').replace(from, to), 'latin1');

describe('a protected key file', () => {
  test('is opened with its passphrase, and returns its bytes unchanged', async () => {
    const keys = freshKeys(3);
    const content = await wrapped(keys);
    await write(content);
    const reading = await keyFileIn(folder.path, { says: right }).read();
    expect(said(reading)).toEqual(keyIds(keys));
    expect(reading.kind === 'keys' && Buffer.from(reading.wrapped ?? []).equals(content)).toBe(true);
  });

  test('created here is opened by the age tool', async () => {
    const keys = freshKeys(8);
    await write(await wrapKeys(keys, passphraseOf(right)));
    await runAge(['-d', '-o', join(folder.path, 'plain'), path], right);
    expect((await readFile(join(folder.path, 'plain'))).equals(contentOf(keys))).toBe(true);
    await expect(runAge(['-d', '-o', join(folder.path, 'other'), path], wrong)).rejects.toThrow('incorrect passphrase');
  });

  test('created by the age tool is opened here', async () => {
    const plain = join(folder.path, 'plain');
    const keys = freshKeys(2);
    await writeFile(plain, contentOf(keys), { mode: 0o600 });
    await runAge(['-p', '-o', path, plain], right);
    await chmod(path, 0o600);
    expect(said(await keyFileIn(folder.path, { says: right }).read())).toEqual(keyIds(keys));
    expect(said(await keyFileIn(folder.path, { says: wrong }).read())).toBe('key_file_locked');
  });

  test('is compatible with the age library in both directions, with each number of keys', async () => {
    for (let count = 1; count <= 8; count += 1) {
      const keys = freshKeys(count);
      const decrypter = new Decrypter();
      decrypter.addPassphrase(right);
      expect(contentOf(keys).equals(await decrypter.decrypt(await wrapped(keys)))).toBe(true);
      await write(await ageFile(contentOf(keys)));
      expect(said(await keyFileIn(folder.path, { says: right }).read())).toEqual(keyIds(keys));
    }
  });

  test('is unwrapped once, even when its times, its name or its mode change', async () => {
    await write(await wrapped(freshKeys()));
    const keyFile = keyFileIn(folder.path, { says: right });
    await keyFile.read();
    await utimes(path, 1, 1);
    await chmod(path, 0o400);
    expect(said(await keyFile.read())).toHaveLength(1);
    expect(keyFile.asked).toBe(1);
  });

  test('never shares salt or file key with another one', async () => {
    const keys = freshKeys();
    const [first, second] = [await wrapped(keys), await wrapped(keys)];
    expect(Buffer.from(first.subarray(0, 60)).equals(second.subarray(0, 60))).toBe(false);
    expect(Buffer.from(first.subarray(-48)).equals(second.subarray(-48))).toBe(false);
  });
});

describe('a locked key file', () => {
  test('without a passphrase is tried again each time, and opened as soon as there is one', async () => {
    await write(await wrapped(freshKeys()));
    let says: string | null = null;
    const keyFile = keyFileIn(folder.path, { says: () => says });
    const failure = failureIn(await keyFile.read());
    expect(failure.code).toBe('key_file_locked');
    expect(failure.message).toContain(`${path}: `);
    expect(said(await keyFile.read())).toBe('key_file_locked');
    says = right;
    expect(said(await keyFile.read())).toHaveLength(1);
    expect(keyFile.asked).toBe(3);
  });

  test('with a wrong passphrase is tried again after five seconds, not before', async () => {
    await write(await wrapped(freshKeys()));
    let [says, now] = [wrong, Date.now()];
    const keyFile = keyFileIn(folder.path, { says: () => says, nowMs: () => now });
    expect(failureIn(await keyFile.read()).code).toBe('key_file_locked');
    says = right;
    now += 4999;
    expect(said(await keyFile.read())).toBe('key_file_locked');
    expect(keyFile.asked).toBe(1);
    now += 1;
    expect(said(await keyFile.read())).toHaveLength(1);
    expect(keyFile.asked).toBe(2);
  });

  test('is tried at once when it is another file', async () => {
    await write(await wrapped(freshKeys()));
    const keyFile = keyFileIn(folder.path, { says: wrong });
    await keyFile.read();
    await write(await wrapKeys(freshKeys(), passphraseOf(wrong), testWorkFactor));
    expect(said(await keyFile.read())).toHaveLength(1);
  });

  test('reports the failure of the passphrase itself, and passes an interruption on', async () => {
    await write(await wrapped(freshKeys()));
    const failing = (failure: Failure) => keyFileIn(folder.path, { passphrase: () => Promise.reject(failure) });
    const locked = new Failure('key_file_locked', 'the passphrase file is readable by all users', { hint: 'chmod' });
    expect(failureIn(await failing(locked).read())).toMatchObject({ code: 'key_file_locked', hint: 'chmod' });
    expect((await failureOf(failing(new Failure('interrupted', 'Ctrl-C')).read())).code).toBe('interrupted');
  });

  test('leaves no passphrase behind: each one that was given is wiped', async () => {
    const keys = freshKeys();
    await write(await wrapped(keys));
    const opened = keyFileIn(folder.path, { says: right });
    await opened.read();
    await opened.replace(keys);
    await opened.unprotect();
    await write(await wrapped(keys));
    const shut = keyFileIn(folder.path, { says: wrong });
    await shut.read();
    await failureOf(shut.unprotect());
    expect([...opened.given, ...shut.given]).toHaveLength(5);
    for (const passphrase of [...opened.given, ...shut.given]) expect(passphrase.length).toBe(0);
  });
});

describe('an age file that must not be opened is refused before the passphrase is requested', () => {
  const refused = async (content: Uint8Array): Promise<Failure> => {
    await write(content);
    const keyFile = keyFileIn(folder.path, { says: right });
    const failure = failureIn(await keyFile.read());
    expect([failure.code, keyFile.asked]).toEqual(['key_file_refused', 0]);
    return failure;
  };

  test.each(['30', '21', '13', '1', '99999999999999999999999'])(
    'one with a work factor of %s, at once',
    async (factor) => {
      const content = replaced(await wrapped(freshKeys()), ` ${testWorkFactor}\n`, ` ${factor}\n`);
      const startedAt = performance.now();
      const failure = await refused(content);
      expect(performance.now() - startedAt).toBeLessThan(50);
      expect(failure.message).toContain(`work factor is ${Number(factor)}`);
      expect(failure.hint).toContain('age -d FILE | age -p');
    },
  );

  test.each(['0', '010', '+10', '1e1', 'a'])(
    'one with a work factor that is not written as one: %s',
    async (factor) => {
      await refused(replaced(await wrapped(freshKeys()), ` ${testWorkFactor}\n`, ` ${factor}\n`));
    },
  );

  test.each([0, 31, 33, 257, 4000])('one with %i bytes in it', async (size) => {
    expect((await refused(await ageFile(randomBytes(size)))).message).toContain(`it has ${size} bytes`);
  });

  test('one for a recipient instead of a passphrase', async () => {
    const identity = join(folder.path, 'identity');
    await runProgram('age-keygen', ['-o', identity]);
    const recipient = (await runProgram('age-keygen', ['-y', identity])).trim();
    const plain = join(folder.path, 'plain');
    await writeFile(plain, contentOf(freshKeys()));
    await runProgram('age', ['-r', recipient, '-o', path, plain]);
    await chmod(path, 0o600);
    const failure = await refused(await readFile(path));
    expect(failure.message).toContain('not protected by a passphrase');
    expect(failure.hint).toContain('age -p');
  });

  test('one with two stanzas, wherever the second is', async () => {
    const content = await wrapped(freshKeys());
    const stanza = /-> scrypt [^-]+/.exec(Buffer.from(content).toString('latin1'))?.[0] ?? '';
    expect((await refused(replaced(content, '---', `${stanza}---`))).message).toContain('beside the passphrase');
  });

  test('one in the form of text, which the hint names', async () => {
    const plain = join(folder.path, 'plain');
    await writeFile(plain, contentOf(freshKeys()));
    await runAge(['-p', '-a', '-o', path, plain], right);
    await chmod(path, 0o600);
    expect((await refused(await readFile(path))).hint).toContain('age -a');
  });

  test('one with a salt that is too short, too long, or not canonical', async () => {
    const content = await wrapped(freshKeys());
    for (const salt of ['AAAA', `${'A'.repeat(22)}AA`, `${'A'.repeat(21)}B`, `${'A'.repeat(20)}==`])
      await refused(replaced(content, /scrypt \S+/, `scrypt ${salt}`));
  });

  test('one that ends too early, anywhere in its header', async () => {
    const content = await wrapped(freshKeys());
    const headerEnd = Buffer.from(content).indexOf('\n', Buffer.from(content).indexOf('\n---') + 1);
    for (let length = 21; length <= headerEnd; length += 7) await refused(content.subarray(0, length));
  });
});

describe('an age file that was changed', () => {
  test('in any byte is refused or locked, and never gives other keys', async () => {
    const keys = freshKeys();
    const content = Buffer.from(await wrapped(keys));
    const codes = new Set<string>();
    for (let at = 0; at < content.length; at += 3) {
      const changed = Buffer.from(content);
      changed[at] = (changed[at] ?? 0) ^ 0x01;
      await write(changed);
      const what = said(await keyFileIn(folder.path, { says: right }).read());
      expect(typeof what).toBe('string');
      codes.add(String(what));
    }
    expect([...codes].sort()).toEqual(['key_file_locked', 'key_file_refused']);
  });
});

describe('protecting', () => {
  test('wraps the keys in the file, and unprotecting puts them back as they were', async () => {
    const keys = freshKeys(2);
    await write(contentOf(keys));
    const keyFile = keyFileIn(folder.path, { says: right });
    const passphrase = passphraseOf(right);
    await keyFile.protect(passphrase);
    expect(passphrase.length).toBeGreaterThan(0);
    expect((await readFile(path)).subarray(0, 21).toString()).toBe('age-encryption.org/v1');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(said(await keyFile.read())).toEqual(keyIds(keys));
    expect(keyFile.asked).toBe(0);
    expect(said(await keyFileIn(folder.path, { says: right }).read())).toEqual(keyIds(keys));
    await keyFile.unprotect();
    expect((await readFile(path)).equals(contentOf(keys))).toBe(true);
  });

  test('is refused when it is protected already, also when it is locked here', async () => {
    await write(await wrapped(freshKeys()));
    expect((await failureOf(keyFileIn(folder.path).protect(passphraseOf(wrong)))).code).toBe('refused');
  });

  test('is refused without a key file, with one that cannot be used, and with an empty passphrase', async () => {
    const keyFile = keyFileIn(folder.path);
    expect((await failureOf(keyFile.protect(passphraseOf(right)))).code).toBe('key_file_missing');
    await write(contentOf(freshKeys()));
    expect((await failureOf(keyFile.protect(passphraseOf('')))).code).toBe('password_missing');
    await chmod(path, 0o644);
    expect((await failureOf(keyFile.protect(passphraseOf(right)))).code).toBe('key_file_refused');
  });

  test('does not touch a file that another process changed meanwhile', async () => {
    await write(contentOf(freshKeys()));
    const keyFile = keyFileIn(folder.path, { workFactor: 16 });
    const protecting = failureOf(keyFile.protect(passphraseOf(right)));
    await pause(60);
    const later = contentOf(freshKeys(2));
    await write(later);
    expect((await protecting).code).toBe('refused');
    expect((await readFile(path)).equals(later)).toBe(true);
  });
});

describe('unprotecting', () => {
  test('is refused without protection, and without a file', async () => {
    const keyFile = keyFileIn(folder.path, { says: right });
    expect((await failureOf(keyFile.unprotect())).code).toBe('key_file_missing');
    await write(contentOf(freshKeys()));
    expect((await failureOf(keyFile.unprotect())).code).toBe('refused');
  });

  test('needs the passphrase, also when the keys are known already', async () => {
    const content = await wrapped(freshKeys());
    await write(content);
    let says: string | null = right;
    const keyFile = keyFileIn(folder.path, { says: () => says });
    await keyFile.read();
    for (says of [null, wrong]) expect((await failureOf(keyFile.unprotect())).code).toBe('key_file_locked');
    expect((await readFile(path)).equals(content)).toBe(true);
  });
});

describe('replacing the keys of a protected file', () => {
  test('retains the protection, by the same passphrase', async () => {
    await write(await wrapped(freshKeys()));
    const keyFile = keyFileIn(folder.path, { says: right });
    const next = freshKeys(2);
    await keyFile.replace(next);
    expect(keyFile.asked).toBe(1);
    expect(said(await keyFile.read())).toEqual(keyIds(next));
    expect(keyFile.asked).toBe(1);
    const another = keyFileIn(folder.path, { says: right });
    const reading = await another.read();
    expect([said(reading), reading.kind === 'keys' && reading.wrapped !== null]).toEqual([keyIds(next), true]);
  });

  test.each([null, wrong])('does nothing with the passphrase %s', async (says) => {
    const content = await wrapped(freshKeys());
    await write(content);
    expect((await failureOf(keyFileIn(folder.path, { says }).replace(freshKeys()))).code).toBe('key_file_locked');
    expect((await readFile(path)).equals(content)).toBe(true);
  });
});

describe('copies', () => {
  test('have the bytes of the file, protected or not, mode 0600, and tell their keys', async () => {
    const keys = freshKeys(2);
    for (const [name, content] of [
      ['plain', contentOf(keys)],
      ['wrapped', await wrapped(keys)],
    ] as const) {
      await write(content);
      const keyFile = keyFileIn(folder.path, { says: right });
      const target = join(folder.path, name);
      await copyTo(keyFile, target);
      expect((await readFile(target)).equals(content)).toBe(true);
      expect((await stat(target)).mode & 0o777).toBe(0o600);
      expect(keyIds(await keysIn(keyFile, target))).toEqual(keyIds(keys));
    }
  });

  test('overwrite nothing and go through no link', async () => {
    await write(contentOf(freshKeys()));
    const keyFile = keyFileIn(folder.path);
    const elsewhere = join(folder.path, 'elsewhere');
    await symlink(elsewhere, join(folder.path, 'link'));
    await writeFile(join(folder.path, 'taken'), 'mine');
    for (const name of ['link', 'taken', '.'])
      expect((await failureOf(copyTo(keyFile, join(folder.path, name)))).code).toBe('already_exists');
    await expect(stat(elsewhere)).rejects.toThrow('ENOENT');
    expect(await readFile(join(folder.path, 'taken'), 'utf8')).toBe('mine');
  });

  test('are refused for a file that is no key file, has another owner, or is missing', async () => {
    const keyFile = keyFileIn(folder.path);
    const target = join(folder.path, 'copy');
    expect((await failureOf(copyTo(keyFile, target))).code).toBe('key_file_missing');
    await write(randomBytes(31));
    expect((await failureOf(copyTo(keyFile, target))).code).toBe('key_file_refused');
    await write(contentOf(freshKeys()));
    await chmod(path, 0o644);
    expect((await failureOf(copyTo(keyFile, target))).code).toBe('key_file_refused');
    await expect(stat(target)).rejects.toThrow('ENOENT');
  });

  test('into a folder that is not there fail, naming it', async () => {
    await write(contentOf(freshKeys()));
    const failure = await failureOf(copyTo(keyFileIn(folder.path), join(folder.path, 'missing', 'copy')));
    expect([failure.code, failure.message, failure.hint]).toEqual([
      'disk_failed',
      `${join(folder.path, 'missing', 'copy')} cannot be written or read (ENOENT)`,
      'The file or its folder does not exist: check the path.',
    ]);
  });
});

describe('the keys of another file', () => {
  test('are listed whatever its mode, and through a link', async () => {
    const keys = freshKeys();
    const copy = join(folder.path, 'copy');
    await writeFile(copy, contentOf(keys), { mode: 0o644 });
    await symlink(copy, join(folder.path, 'link'));
    expect(keyIds(await keysIn(keyFileIn(folder.path), join(folder.path, 'link')))).toEqual(keyIds(keys));
  });

  test('cannot be listed for a file that is missing, damaged, locked, a folder or endless', async () => {
    const keyFile = keyFileIn(folder.path, { says: wrong });
    const code = async (name: string) => (await failureOf(keysIn(keyFile, join(folder.path, name)))).code;
    await writeFile(join(folder.path, 'damaged'), randomBytes(31));
    await writeFile(join(folder.path, 'locked'), await wrapped(freshKeys()));
    await symlink('/dev/zero', join(folder.path, 'endless'));
    expect(await code('missing')).toBe('not_found');
    expect(await code('damaged')).toBe('key_file_refused');
    expect(await code('locked')).toBe('key_file_locked');
    expect(await code('.')).toBe('key_file_refused');
    expect(await code('endless')).toBe('key_file_refused');
  });

  test('do not ask for a passphrase when it is the very file that is open', async () => {
    await write(await wrapped(freshKeys()));
    const keyFile = keyFileIn(folder.path, { says: right });
    await keyFile.read();
    await copyTo(keyFile, join(folder.path, 'copy'));
    expect(await keysIn(keyFile, join(folder.path, 'copy'))).toHaveLength(1);
    expect(keyFile.asked).toBe(1);
  });
});

test('a work factor outside 14 to 20 is never written', async () => {
  for (const factor of [0, 21, Number.NaN])
    await expect(wrapKeys(freshKeys(), passphraseOf(right), factor)).rejects.toThrow('a work factor is 14 to 20');
});
