/**
 * Streaming redaction of the secret in what a server sends during the login, in place, before anything parses it.
 *
 * A server that repeats the secret (CAPABILITY, ALERT, BYE, the text of NO) would leave it in strings, which cannot be
 * wiped. Its bytes are overwritten as they arrive, in clear and in base64 at each alignment; a form that the network
 * cuts is overwritten in both pieces, since the parser keeps views of them until the line ends. An access token, which
 * a server may cut short, is recognized by its beginning. Limits: other encodings (hex, quoted), the end of a token
 * without its beginning, secrets below `secretBytesMin`, and those that are part of a word of the protocol, which would
 * break the login. After the login the secret is wiped, and cannot be recognized any more.
 */
import type { Credential } from '../../../ingest/ports.ts';
import { copySecret, secretBuffer } from '../../../secret/secret-bytes.ts';
import { isBase64Byte, writeBase64 } from '../sasl/base64.ts';

/** Below it, a secret may be a tag, a status or part of a number. */
export const secretBytesMin = 5;
/** The beginning of a token: nothing else that a server sends begins with it. */
export const tokenBeginBytes = 32;
export const base64BytesMin = 6;
const filler = 0x78;

/** What the login depends on: status, capabilities and response codes, in capitals. */
const protocolWords = Buffer.from(
  [
    'CAPABILITY PREAUTH AUTH=PLAIN AUTH=LOGIN AUTHENTICATE LOGINDISABLED IMAP4REV1 IMAP4REV2 SASL-IR STARTTLS',
    'UIDPLUS NAMESPACE ENABLE CONDSTORE QRESYNC UTF8=ACCEPT UTF8=ONLY LITERAL+ LITERAL- ESEARCH SPECIAL-USE UNSELECT',
    'LIST-EXTENDED LIST-STATUS COMPRESS=DEFLATE CHILDREN OBJECTID STATUS=SIZE APPENDLIMIT BINARY XLIST X-GM-EXT-1',
    'AUTHENTICATIONFAILED AUTHORIZATIONFAILED EXPIRED PRIVACYREQUIRED CONTACTADMIN UNAVAILABLE SERVERBUG CLIENTBUG',
    'ALERT LIMIT INUSE NOPERM OVERQUOTA THROTTLED',
  ].join(' '),
);

type Bytes = (byte: number) => boolean;

/** Bytes to recognize. `before`, `after`: characters around them that belong to the same text; null: none. */
type Form = { readonly bytes: Uint8Array<ArrayBuffer>; readonly before: Bytes | null; readonly after: Bytes | null };

export class EchoFilter {
  readonly #forms: readonly Form[];
  readonly #keptBytesMax: number;
  /** Views of the last bytes, as many as could begin a form. */
  #kept: Uint8Array[] = [];
  #hasFound = false;
  /** Characters of a text that continues in the next chunk; null: none does. */
  #open: Bytes | null = null;

  /** Copies what it recognizes; `end` wipes that. */
  constructor({ kind, secret }: Credential) {
    this.#forms = secret.use((bytes) => formsOf(bytes, kind));
    this.#keptBytesMax = Math.max(1, ...this.#forms.map(({ bytes }) => bytes.length)) - 1;
  }

  /** True once a form was overwritten. */
  get hasFound(): boolean {
    return this.#hasFound;
  }

  /** Overwrites every form that ends in `chunk`, also its beginning in earlier chunks. */
  redact(chunk: Uint8Array): void {
    const text = new Segments([...this.#kept, chunk]);
    const from = text.length - chunk.length;
    if (this.#open !== null && text.fill(from, this.#open) < text.length) this.#open = null;
    for (const form of this.#forms) {
      const { length } = form.bytes;
      for (let at = Math.max(0, from - length + 1); at < from && at + length <= text.length; at += 1) {
        if (text.hasAt(at, form.bytes)) this.#overwrite(text, at, form);
      }
      for (const at of placesOf(form.bytes, chunk)) this.#overwrite(text, from + at, form);
    }
    this.#kept = text.last(this.#keptBytesMax);
  }

  end(): void {
    for (const { bytes } of this.#forms) bytes.fill(0);
    this.#kept = [];
  }

  #overwrite(text: Segments, at: number, { bytes, before, after }: Form): void {
    const end = at + bytes.length;
    this.#hasFound = true;
    for (let index = at; index < end; index += 1) text.set(index, filler);
    for (let index = at - 1; index >= 0 && before?.(text.get(index)) === true; index -= 1) text.set(index, filler);
    if (after !== null && text.fill(end, after) === text.length) this.#open = after;
  }
}

/**
 * Where `bytes` begin in `chunk`, which may be overwritten meanwhile. The native search gets the first byte alone: for
 * more it would keep tables about the secret.
 */
export function* placesOf(bytes: Uint8Array, chunk: Uint8Array): Iterable<number> {
  const first = bytes[0] ?? 0;
  const last = chunk.length - bytes.length;
  for (let at = chunk.indexOf(first); at >= 0 && at <= last; at = chunk.indexOf(first, at + 1)) {
    let index = 1;
    while (index < bytes.length && chunk[at + index] === bytes[index]) index += 1;
    if (index === bytes.length) yield at;
  }
}

/** Pieces of memory as one text. */
class Segments {
  readonly #pieces: readonly Uint8Array[];
  readonly length: number;

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces;
    this.length = pieces.reduce((sum, { length }) => sum + length, 0);
  }

  get(index: number): number {
    const [piece, at] = this.#locate(index);
    return piece[at] ?? 0;
  }

  set(index: number, byte: number): void {
    const [piece, at] = this.#locate(index);
    piece[at] = byte;
  }

  hasAt(from: number, bytes: Uint8Array): boolean {
    for (let index = 0; index < bytes.length; index += 1) if (this.get(from + index) !== bytes[index]) return false;
    return true;
  }

  /** Overwrites the text of such bytes from `from` on; returns its end. */
  fill(from: number, isPart: Bytes): number {
    let at = from;
    for (; at < this.length && isPart(this.get(at)); at += 1) this.set(at, filler);
    return at;
  }

  /** Views of the last bytes, `bytesMax` at most. */
  last(bytesMax: number): Uint8Array[] {
    const views: Uint8Array[] = [];
    let left = bytesMax;
    for (const piece of this.#pieces.toReversed()) {
      if (left > 0) views.unshift(piece.subarray(Math.max(0, piece.length - left)));
      left -= piece.length;
    }
    return views;
  }

  #locate(index: number): readonly [Uint8Array, number] {
    let at = index;
    for (const piece of this.#pieces) {
      if (at < piece.length) return [piece, at];
      at -= piece.length;
    }
    throw new RangeError('beyond the end of the text');
  }
}

function formsOf(secret: Uint8Array, kind: Credential['kind']): readonly Form[] {
  if (secret.length < secretBytesMin || isProtocolWord(secret)) return [];
  const isCut = kind === 'token' && secret.every(isTokenByte);
  const known = isCut ? secret.subarray(0, tokenBeginBytes) : secret;
  const clear = secretBuffer(known.length);
  copySecret(known, clear);
  const around = { before: isBase64Byte, after: isBase64Byte };
  const base64 = [0, 1, 2].map((before) => ({ bytes: base64Core(known, before), ...around }));
  const whole = { bytes: clear, before: null, after: isCut ? isTokenByte : null };
  return [whole, ...base64.filter(({ bytes }) => bytes.length >= base64BytesMin)];
}

/** RFC 6750 section 2.1: b64token. */
function isTokenByte(byte: number): boolean {
  return isBase64Byte(byte) || byte === 0x2d || byte === 0x2e || byte === 0x5f || byte === 0x7e;
}

/** The part of its base64 form that depends on no other byte, with `before` bytes before it, modulo 3. */
export function base64Core(password: Uint8Array, before: number): Uint8Array<ArrayBuffer> {
  const from = (3 - before) % 3;
  const groups = Math.floor(Math.max(0, password.length - from) / 3);
  const core = secretBuffer(4 * groups);
  writeBase64(core, password.subarray(from, from + 3 * groups));
  return core;
}

function isProtocolWord(password: Uint8Array): boolean {
  for (let at = 0; at + password.length <= protocolWords.length; at += 1) {
    let index = 0;
    while (index < password.length && capital(password[index] ?? 0) === protocolWords[at + index]) index += 1;
    if (index === password.length) return true;
  }
  return false;
}

function capital(byte: number): number {
  return byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte;
}
