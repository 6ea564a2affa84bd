/**
 * Filter of untagged responses (RFC 9051 section 7) in front of imapflow: a table of those that a command here uses.
 *
 * All others are dropped before they are parsed. Nothing here enables QRESYNC (RFC 7162), so VANISHED is never wanted:
 * imapflow walks its UIDs one by one, and 25 bytes can name 2^32 of them. SEARCH and ESEARCH are read by `UidCollector`
 * (uid-collector.ts).
 */
import type { UidCollector } from './uid-collector.ts';

const always: ReadonlySet<string> = new Set(['OK', 'BYE', 'PREAUTH', 'CAPABILITY', 'EXISTS', 'EXPUNGE', 'RECENT']);

/** By command: the responses with its data. */
const ofCommand: Readonly<Record<string, readonly string[]>> = {
  ID: ['ID'],
  NAMESPACE: ['NAMESPACE'],
  ENABLE: ['ENABLED'],
  LIST: ['LIST'],
  XLIST: ['XLIST'],
  SELECT: ['FLAGS'],
  EXAMINE: ['FLAGS'],
  FETCH: ['FETCH'],
  'UID FETCH': ['FETCH'],
};

/** A referral may be the greeting as well, when none is in flight. */
const loginCommands: ReadonlySet<string> = new Set(['AUTHENTICATE', 'LOGIN']);

/** The host that follows is not read: it is neither shown nor used; a password goes to the host of its mailbox. */
const referral = /^[^ ]{1,64} (?:OK|NO|BAD|BYE) \[REFERRAL /i;
const referralBytesMax = 100;

function isReferral(line: Buffer): boolean {
  return referral.test(line.toString('latin1', 0, referralBytesMax));
}

/** What precedes the data: `* 12 FETCH`. */
const headBytesMax = 64;
const head = /^\* (?:[0-9]+ )?([A-Za-z]+)(?= |$)/;
const asterisk = 0x2a;

/** Start of the response: some servers pad it with NUL bytes, which the parser skips as well. */
function startOf(line: Uint8Array): number {
  const start = line.findIndex((byte) => byte !== 0);
  return start < 0 ? line.length : start;
}

/** Decides which responses of one connection are parsed. */
export class ResponseFilter {
  /** Reads the responses of the SEARCH in flight; null: none is in flight. */
  collector: UidCollector | null = null;
  #isReferred = false;

  /** True once the server named another host instead of itself (RFC 2221), until the login has ended. */
  get isReferred(): boolean {
    return this.#isReferred;
  }

  /** True when the library parses `line`; `command` is the one in flight. */
  async accepts(line: Buffer, command: string | null): Promise<boolean> {
    const start = startOf(line);
    if (command === null || loginCommands.has(command)) this.#isReferred ||= isReferral(line);
    if (line[start] !== asterisk) return true;
    const kind = head.exec(line.toString('latin1', start, start + headBytesMax))?.[1]?.toUpperCase();
    if (kind === undefined) return false;
    if (command === 'UID SEARCH' && (kind === 'SEARCH' || kind === 'ESEARCH')) {
      await this.collector?.read(kind, line.subarray(start));
      return false;
    }
    return always.has(kind) || (command !== null && ofCommand[command]?.includes(kind) === true);
  }
}
