/**
 * Streaming redaction of the password in what a server sends during the login, in place, before anything parses it.
 *
 * A server that repeats the password (CAPABILITY, ALERT, BYE, the text of NO) would leave it in strings, which cannot
 * be wiped. Its bytes are overwritten as they arrive, in clear and in base64 at each alignment; a form that the network
 * cuts is overwritten in both pieces, since the parser keeps views of them until the line ends. Limits: other
 * encodings (hex, quoted), passwords below `passwordBytesMin`, and those that are part of a word of the protocol, which
 * would break the login. After the login the password is wiped, and cannot be recognized any more.
 */
import { copySecret, type SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';
import { isBase64Byte, writeBase64 } from './base64.ts';

/** Below it, a password may be a tag, a status or part of a number. */
const passwordBytesMin = 5;
const base64BytesMin = 6;
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

/** Bytes to recognize; `isBase64`: the characters around it belong to the same text. */
type Form = { readonly bytes: Uint8Array<ArrayBuffer>; readonly isBase64: boolean };

export class EchoFilter {
  readonly #forms: readonly Form[];
  readonly #keptBytesMax: number;
  /** Views of the last bytes, as many as could begin a form. */
  #kept: Uint8Array[] = [];
  #hasFound = false;
  /** True while a base64 text continues in the next chunk. */
  #isInBase64 = false;

  /** Copies what it recognizes; `end` wipes that. */
  constructor(password: SecretBytes) {
    this.#forms = password.use(formsOf);
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
    if (this.#isInBase64) this.#isInBase64 = text.fillBase64(from) === text.length;
    for (const form of this.#forms) {
      const first = Math.max(0, from - form.bytes.length + 1);
      for (let at = first; at + form.bytes.length <= text.length; at += 1) {
        if (text.hasAt(at, form.bytes)) this.#overwrite(text, at, form);
      }
    }
    this.#kept = text.last(this.#keptBytesMax);
  }

  end(): void {
    for (const { bytes } of this.#forms) bytes.fill(0);
    this.#kept = [];
  }

  #overwrite(text: Segments, at: number, { bytes, isBase64 }: Form): void {
    const end = at + bytes.length;
    this.#hasFound = true;
    for (let index = at; index < end; index += 1) text.set(index, filler);
    if (!isBase64) return;
    for (let index = at - 1; index >= 0 && isBase64Byte(text.get(index)); index -= 1) text.set(index, filler);
    if (text.fillBase64(end) === text.length) this.#isInBase64 = true;
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

  /** Overwrites the base64 text from `from` on; returns its end. */
  fillBase64(from: number): number {
    let at = from;
    for (; at < this.length && isBase64Byte(this.get(at)); at += 1) this.set(at, filler);
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

function formsOf(password: Uint8Array): readonly Form[] {
  if (password.length < passwordBytesMin || isProtocolWord(password)) return [];
  const clear = secretBuffer(password.length);
  copySecret(password, clear);
  const base64 = [0, 1, 2].map((before) => ({ bytes: base64Core(password, before), isBase64: true }));
  return [{ bytes: clear, isBase64: false }, ...base64.filter(({ bytes }) => bytes.length >= base64BytesMin)];
}

/** The part of its base64 form that depends on no other byte, with `before` bytes before it, modulo 3. */
function base64Core(password: Uint8Array, before: number): Uint8Array<ArrayBuffer> {
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
