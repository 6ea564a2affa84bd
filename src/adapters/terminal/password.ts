/**
 * Password input from the prompt and from standard input, as bytes throughout, never as a string; other secrets too.
 *
 * Every buffer that a byte passes through is wiped. An empty password is `password_missing`, Ctrl-C is `interrupted`,
 * a NUL (which no IMAP login can carry, RFC 4616) or more bytes than the limit is `usage`.
 */
import type { ReadStream } from 'node:tty';
import { Failure } from '../../errors.ts';
import { passwordBytesMax } from '../../secret/sealed-password.ts';
import { SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';

const key = {
  ctrlC: 3,
  ctrlD: 4,
  backspace: 8,
  lineFeed: 10,
  carriageReturn: 13,
  ctrlU: 21,
  escape: 27,
  delete: 127,
} as const;

/** What is read. `noun`: for errors. */
export type SecretKind = { readonly noun: string; readonly bytesMax: number };

const passwordKind: SecretKind = { noun: 'password', bytesMax: passwordBytesMax };

/** Input bytes in one buffer of fixed size. */
class PasswordBuffer {
  readonly #kind: SecretKind;
  readonly #bytes: Uint8Array;
  #length = 0;

  constructor(kind: SecretKind) {
    this.#kind = kind;
    this.#bytes = secretBuffer(kind.bytesMax + 2);
  }

  add(byte: number): void {
    if (this.#length === this.#bytes.length) throw tooLong(this.#kind);
    this.#bytes[this.#length++] = byte;
  }

  /** Removes the last character: its first byte and all its continuation bytes (UTF-8, RFC 3629). */
  removeCharacter(): void {
    let removed = 0x80;
    while (this.#length > 0 && (removed & 0xc0) === 0x80) {
      removed = this.#bytes[this.#length - 1] ?? 0;
      this.#bytes[--this.#length] = 0;
    }
  }

  clear(): void {
    this.#bytes.fill(0);
    this.#length = 0;
  }

  /** One line end at the end of a file or a pipe is not part of the password. */
  removeLineEnd(): void {
    if (this.#bytes[this.#length - 1] !== key.lineFeed) return;
    this.#length--;
    if (this.#bytes[this.#length - 1] === key.carriageReturn) this.#length--;
  }

  interrupted(): Failure {
    return new Failure('interrupted', `stopped at the ${this.#kind.noun} prompt`, { hint: 'Nothing was changed.' });
  }

  take(): SecretBytes {
    const bytes = this.#bytes.subarray(0, this.#length);
    const { noun, bytesMax } = this.#kind;
    if (bytes.length === 0)
      throw new Failure(this.#kind === passwordKind ? 'password_missing' : 'usage', `the ${noun} is empty`);
    if (bytes.length > bytesMax) throw tooLong(this.#kind);
    if (bytes.includes(0)) throw new Failure('usage', `the ${noun} must not contain a NUL byte`);
    return SecretBytes.take(bytes);
  }
}

/** All of `input`, without one line end at its end. */
export async function readPasswordToEnd(
  input: AsyncIterable<Uint8Array | string>,
  kind: SecretKind = passwordKind,
): Promise<SecretBytes> {
  const buffer = new PasswordBuffer(kind);
  try {
    for await (const chunk of input) {
      if (typeof chunk === 'string') throw new TypeError('the input must not have an encoding');
      addChunk(chunk, buffer);
    }
    buffer.removeLineEnd();
    return buffer.take();
  } finally {
    buffer.clear();
  }
}

function addChunk(chunk: Uint8Array, buffer: PasswordBuffer): void {
  try {
    for (const byte of chunk) buffer.add(byte);
  } finally {
    chunk.fill(0);
  }
}

/** The part of a terminal that the prompt uses. */
export type Keyboard = Pick<ReadStream, 'setRawMode' | 'resume' | 'pause' | 'on' | 'off'>;

/** Prints the question and reads keys without an echo. Backspace and Ctrl-U delete. */
export async function promptPassword(
  question: string,
  keyboard: Keyboard,
  print: (text: string) => void,
  kind: SecretKind = passwordKind,
): Promise<SecretBytes> {
  const buffer = new PasswordBuffer(kind);
  // Before the question appears: input typed at once must not be echoed.
  keyboard.setRawMode(true);
  try {
    print(question);
    await readKeys(keyboard, buffer);
    return buffer.take();
  } finally {
    buffer.clear();
    keyboard.setRawMode(false);
    keyboard.pause();
    print('\n');
  }
}

/** Resolves once the line is ended. */
function readKeys(keyboard: Keyboard, buffer: PasswordBuffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onData = (chunk: Uint8Array): void => {
    try {
      if (applyKeys(chunk, buffer)) resolve();
    } catch (error) {
      reject(error);
    } finally {
      chunk.fill(0);
    }
  };
  const onEnd = (): void => resolve();
  keyboard.on('data', onData);
  keyboard.on('end', onEnd);
  keyboard.resume();
  return promise.finally(() => {
    keyboard.off('data', onData);
    keyboard.off('end', onEnd);
  });
}

/** True when one of the keys ended the line. */
function applyKeys(keys: Uint8Array, buffer: PasswordBuffer): boolean {
  // An arrow key sends an escape sequence in one piece: no part of a password.
  if (keys[0] === key.escape) return false;
  for (const byte of keys) {
    if (byte === key.lineFeed || byte === key.carriageReturn || byte === key.ctrlD) return true;
    if (byte === key.ctrlC) throw buffer.interrupted();
    if (byte === key.backspace || byte === key.delete) buffer.removeCharacter();
    else if (byte === key.ctrlU) buffer.clear();
    else buffer.add(byte);
  }
  return false;
}

function tooLong({ noun, bytesMax }: SecretKind): Failure {
  return new Failure('usage', `the ${noun} is longer than ${bytesMax} bytes`);
}
