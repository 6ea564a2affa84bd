import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { type Keyboard, promptPassword, readPasswordToEnd } from '../../../src/adapters/terminal/password.ts';
import type { SecretBytes } from '../../../src/secret/secret-bytes.ts';

const text = (secret: SecretBytes): string => secret.use((bytes) => new TextDecoder().decode(bytes));

/** Everything that was put in, to see that it was wiped. */
function input(...pieces: string[]): { chunks: Buffer[]; stream: Readable } {
  const chunks = pieces.map((piece) => Buffer.from(piece));
  return { chunks, stream: Readable.from(chunks, { objectMode: true }) };
}

test.each([
  ['hunter2\n', 'hunter2'],
  ['hunter2\r\n', 'hunter2'],
  ['hunter2\n\n', 'hunter2\n'],
  ['hunter2\r', 'hunter2\r'],
  ['hunter2', 'hunter2'],
  [' pässword ', ' pässword '],
])('standard input %j is the password %j', async (given, expected) => {
  expect(text(await readPasswordToEnd(input(given).stream))).toBe(expected);
});

test('input buffers are wiped', async () => {
  const { chunks, stream } = input('hun', 'ter2\n');
  expect(text(await readPasswordToEnd(stream))).toBe('hunter2');
  expect(Buffer.concat(chunks).every((byte) => byte === 0)).toBe(true);
});

test.each([
  ['', 'password_missing'],
  ['\n', 'password_missing'],
  ['a\0b', 'usage'],
  ['x'.repeat(1025), 'usage'],
  ['x'.repeat(100_000), 'usage'],
])('standard input that is not a valid password is an error (%#)', async (given, code) => {
  await expect(readPasswordToEnd(input(given).stream)).rejects.toMatchObject({ code });
});

class Keys extends EventEmitter {
  raw = false;
  readonly shown: string[] = [];

  setRawMode(mode: boolean): this {
    this.raw = mode;
    return this;
  }

  resume(): this {
    return this;
  }

  pause(): this {
    return this;
  }
}

/** Types each piece while the terminal is in raw mode. */
async function typing(keys: Keys, ...pieces: string[]): Promise<string> {
  const prompt = promptPassword('Password: ', keys as unknown as Keyboard, (shown) => keys.shown.push(shown));
  for (const piece of pieces) {
    expect(keys.raw).toBe(true);
    keys.emit('data', Buffer.from(piece));
  }
  return text(await prompt);
}

test('the prompt shows the question and nothing of the answer', async () => {
  const keys = new Keys();
  expect(await typing(keys, 'h', 'unter2', '\r')).toBe('hunter2');
  expect(keys.shown.join('')).toBe('Password: \n');
  expect(keys.raw).toBe(false);
  expect(keys.listenerCount('data')).toBe(0);
});

test('backspace deletes a whole character, Ctrl-U everything, and arrow keys nothing', async () => {
  expect(await typing(new Keys(), 'abé', '\x7f', '\x08', 'c', '\x1b[D', '\r')).toBe('ac');
  expect(await typing(new Keys(), 'wrong', '\x15', '\x7f', 'right', '\n')).toBe('right');
});

test('Ctrl-C interrupts, an empty line is no password, and the terminal mode is restored', async () => {
  const keys = new Keys();
  await expect(typing(keys, 'abc', '\x03')).rejects.toMatchObject({ code: 'interrupted' });
  await expect(typing(keys, '\r')).rejects.toMatchObject({ code: 'password_missing' });
  await expect(typing(keys, '\x04')).rejects.toMatchObject({ code: 'password_missing' });
  expect(keys.raw).toBe(false);
});
