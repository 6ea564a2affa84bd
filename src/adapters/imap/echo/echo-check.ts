/**
 * Detection of the secret in texts of a server that are to be shown: folder names, capabilities, certificates.
 *
 * The bytes of a login are redacted as they arrive (echo-filter.ts); these texts come before or after it, while the
 * caller still holds the secret. Letters are compared without case, and without what stands between them: in clear,
 * hex, base64 (also of UTF-16, as in modified UTF-7), with %XX or =XX, each also backwards or spread over several
 * texts. A secret with few letters and digits is compared as it is. Limits: other encodings, a part of the secret, and
 * numbers. A text that has it by chance is left out as well.
 */
import type { Credential } from '../../../ingest/ports.ts';
import { copySecret, secretBuffer } from '../../../secret/secret-bytes.ts';
import { base64BytesMin, base64Core, placesOf, secretBytesMin, tokenBeginBytes } from './echo-filter.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** Texts beyond it are not compared one by one, which takes time. */
const textsMax = 10_000;

export class EchoCheck {
  readonly #forms: readonly Bytes[];
  /** The secret as it is, but for the case of its letters. */
  readonly #plain: Bytes;

  /** Copies the forms of the secret; `Symbol.dispose` wipes them. */
  constructor({ kind, secret }: Credential) {
    const [plain, forms] = secret.use((bytes) => {
      const known = kind === 'token' ? bytes.subarray(0, tokenBeginBytes) : bytes;
      return [lowerCase(known), encodedForms(known)] as const;
    });
    this.#plain = plain;
    this.#forms = forms;
  }

  /** True when `text` contains the secret. */
  isIn(text: string): boolean {
    const bytes = Buffer.from(text);
    const views = [bytes, Buffer.from(withoutUtf7(text)), withoutEscapes(bytes), Uint8Array.from(bytes).reverse()];
    const isFound = views.some((view) => this.#isInView(view));
    for (const view of views) view.fill(0);
    return isFound;
  }

  /** The texts without the secret; none when it is spread over several, or in one of very many. */
  without(texts: readonly string[]): readonly string[] {
    if (!this.isIn(texts.join(' '))) return texts;
    const rest = texts.length > textsMax ? [] : texts.filter((text) => !this.isIn(text));
    return this.isIn(rest.join(' ')) ? [] : rest;
  }

  /** `text`, or words in its place when it contains the secret. */
  redacted(text: string): string {
    return this.isIn(text) ? '(not shown: it contains the password or token)' : text;
  }

  [Symbol.dispose](): void {
    for (const form of [this.#plain, ...this.#forms]) form.fill(0);
  }

  #isInView(view: Uint8Array): boolean {
    const text = lowerCase(view);
    const isPlain = contains(text, this.#plain);
    const compact = keepLetters(text);
    const isFound = isPlain || this.#forms.some((form) => contains(compact, form));
    text.fill(0);
    return isFound;
  }
}

/** The letters and digits of each form that has enough of them. */
function encodedForms(secret: Bytes): readonly Bytes[] {
  const backwards = mapped(secret, (_, index) => secret[secret.length - 1 - index] ?? 0);
  const clear = [secret, backwards].map(letters).filter(({ length }) => length >= secretBytesMin);
  const encoded = [secret, backwards].flatMap((bytes) => {
    const wide = utf16(bytes);
    const all = [hex(bytes), ...[0, 1, 2].flatMap((before) => [base64Core(bytes, before), base64Core(wide, before)])];
    wide.fill(0);
    return all;
  });
  const forms = encoded.map(letters).filter(({ length }) => length >= base64BytesMin);
  for (const one of [backwards, ...encoded]) one.fill(0);
  return [...clear, ...forms];
}

function mapped(bytes: Uint8Array, map: (byte: number, index: number) => number): Bytes {
  const target = secretBuffer(bytes.length);
  for (let index = 0; index < bytes.length; index += 1) target[index] = map(bytes[index] ?? 0, index);
  return target;
}

/** Of ASCII. */
function lowerCase(bytes: Uint8Array): Bytes {
  return mapped(bytes, (byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte));
}

function letters(bytes: Uint8Array): Bytes {
  return keepLetters(lowerCase(bytes));
}

/** Moves the ASCII letters and digits of a text in lower case to its start; returns those. */
function keepLetters(text: Bytes): Bytes {
  let length = 0;
  for (const byte of text) if ((byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39)) text[length++] = byte;
  text.fill(0, length);
  return text.subarray(0, length);
}

function hex(bytes: Uint8Array): Bytes {
  const target = secretBuffer(2 * bytes.length);
  const digit = (value: number): number => value + (value < 10 ? 0x30 : 0x57);
  for (const [index, byte] of bytes.entries()) {
    target[2 * index] = digit(byte >> 4);
    target[2 * index + 1] = digit(byte & 15);
  }
  return target;
}

/** UTF-16 (big endian) of ASCII; of other characters only modified UTF-7 is recognized. */
function utf16(bytes: Uint8Array): Bytes {
  const target = secretBuffer(2 * bytes.length);
  for (const [index, byte] of bytes.entries()) target[2 * index + 1] = byte;
  return target;
}

/** Decodes modified UTF-7 (RFC 9051 appendix A.1), also where the server had to send UTF-8. */
function withoutUtf7(text: string): string {
  return text.replace(/&([A-Za-z0-9+,/]*)-?/g, (_, shifted: string) => {
    const bytes = Buffer.from(shifted.replaceAll(',', '/'), 'base64');
    return shifted === ''
      ? '&'
      : bytes
          .subarray(0, bytes.length & ~1)
          .swap16()
          .toString('utf16le');
  });
}

/** Decodes %XX (RFC 3986) and =XX (RFC 2045). */
function withoutEscapes(bytes: Uint8Array): Bytes {
  const target = secretBuffer(bytes.length);
  copySecret(bytes, target);
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const isEscape = bytes[at] === 0x25 || bytes[at] === 0x3d;
    const [high, low] = [hexValue(bytes[at + 1]), hexValue(bytes[at + 2])];
    const value = isEscape && high !== null && low !== null ? 16 * high + low : null;
    target[length++] = value ?? bytes[at] ?? 0;
    if (value !== null) at += 2;
  }
  return target.subarray(0, length);
}

function hexValue(byte: number | undefined): number | null {
  const value = byte === undefined ? Number.NaN : Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? null : value;
}

function contains(text: Uint8Array, form: Uint8Array): boolean {
  if (form.length === 0) return false;
  for (const _ of placesOf(form, text)) return true;
  return false;
}
