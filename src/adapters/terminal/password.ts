/**
 * Passwords from the prompt and from standard input: bytes from the first to the last, never a string.
 *
 * Every buffer that a byte passed through is wiped. An empty password is `password_missing`, Ctrl-C is `interrupted`,
 * a NUL (which no IMAP login can carry, RFC 4616) or more than 1,024 bytes is `usage`.
 */
import type { ReadStream } from 'node:tty';
import { Failure } from '../../errors.ts';
import { SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';

const passwordBytesMax = 1024;

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

/** Bytes as they arrive, in one buffer of fixed size. */
class Collected {
  readonly #bytes = secretBuffer(passwordBytesMax + 2);
  #length = 0;

  add(byte: number): void {
    if (this.#length === this.#bytes.length) throw tooLong();
    this.#bytes[this.#length++] = byte;
  }

  /** Takes the last character off: its first byte and all the continuation bytes after it (RFC 3629). */
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

  /** One line end at the end is not part of a password that came from a file or a pipe. */
  removeLineEnd(): void {
    if (this.#bytes[this.#length - 1] !== key.lineFeed) return;
    this.#length--;
    if (this.#bytes[this.#length - 1] === key.carriageReturn) this.#length--;
  }

  take(): SecretBytes {
    const bytes = this.#bytes.subarray(0, this.#length);
    if (bytes.length === 0) throw new Failure('password_missing', 'the password is empty');
    if (bytes.length > passwordBytesMax) throw tooLong();
    if (bytes.includes(0)) throw new Failure('usage', 'the password must not contain a NUL byte');
    return SecretBytes.take(bytes);
  }
}

/** All of `input` up to its end, without one line end there. */
export async function readPasswordToEnd(input: AsyncIterable<Uint8Array | string>): Promise<SecretBytes> {
  const collected = new Collected();
  try {
    for await (const chunk of input) {
      if (typeof chunk === 'string') throw new TypeError('the input must not have an encoding');
      takeIn(chunk, collected);
    }
    collected.removeLineEnd();
    return collected.take();
  } finally {
    collected.clear();
  }
}

function takeIn(chunk: Uint8Array, collected: Collected): void {
  try {
    for (const byte of chunk) collected.add(byte);
  } finally {
    chunk.fill(0);
  }
}

/** What a prompt needs of a terminal. */
export type Keyboard = Pick<ReadStream, 'setRawMode' | 'resume' | 'pause' | 'on' | 'off'>;

/** Asks on `print` and reads the keys of `keyboard` without an echo. Backspace and Ctrl-U correct. */
export async function promptPassword(
  question: string,
  keyboard: Keyboard,
  print: (text: string) => void,
): Promise<SecretBytes> {
  const collected = new Collected();
  // Before the question is seen: whoever types at once must not be echoed.
  keyboard.setRawMode(true);
  try {
    print(question);
    await typed(keyboard, collected);
    return collected.take();
  } finally {
    collected.clear();
    keyboard.setRawMode(false);
    keyboard.pause();
    print('\n');
  }
}

/** Resolves once the line is ended. */
function typed(keyboard: Keyboard, collected: Collected): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onData = (chunk: Uint8Array): void => {
    try {
      if (typeKeys(chunk, collected)) resolve();
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
function typeKeys(keys: Uint8Array, collected: Collected): boolean {
  // A key such as an arrow sends a sequence of its own, in one piece: no part of a password.
  if (keys[0] === key.escape) return false;
  for (const byte of keys) {
    if (byte === key.lineFeed || byte === key.carriageReturn || byte === key.ctrlD) return true;
    if (byte === key.ctrlC) throw interrupted();
    if (byte === key.backspace || byte === key.delete) collected.removeCharacter();
    else if (byte === key.ctrlU) collected.clear();
    else collected.add(byte);
  }
  return false;
}

function tooLong(): Failure {
  return new Failure('usage', `the password is longer than ${passwordBytesMax} bytes`);
}

function interrupted(): Failure {
  return new Failure('interrupted', 'stopped at the password prompt', { hint: 'Nothing was changed.' });
}
