/**
 * Limits on one command: a byte budget for what the server sends, and a watchdog for silence and total time.
 *
 * The budget is counted before anything is parsed: parsing a line costs a thousand times what receiving it costs, so a
 * server that floods the connection would block the thread long before a deadline. Each command, each IDLE and each
 * pause between two commands has its own budget. Requested messages arrive as literals (RFC 9051 section 4.3), which
 * are cheap: expected ones are counted separately.
 */

import type { AnswerWatch } from '../../ingest/ports.ts';

/** From the greeting to the end of the login. */
export const loginBytesMax = 64 * 1024;
/** Unsolicited data during a command: flag changes of some ten thousand messages. */
export const commandBytesMax = 1024 * 1024;
/** SELECT, IDLE, and between two commands. */
export const idleBytesMax = 256 * 1024;

/**
 * One response without its literals, except SEARCH: lists of folder keywords have some thousand bytes. Parsing this
 * many takes less than 50 ms, whatever they are.
 */
export const lineBytesMax = 64 * 1024;
/** A SEARCH response of half a million UIDs of ten digits: two windows of a listing. */
export const searchBytesMax = 5_500_000;

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const closingBrace = 0x7d;
/** `{`, the digits of a 64-bit number, `}`, CR and LF. */
const markerBytesMax = 24;
const searchHead = Buffer.from('* SEARCH ');
const upperCaseMask = 0xdf;
const marker = /(\{?)([0-9]+)\}\r?\n$/;

export class InboundLimit {
  readonly #exceeded: () => void;
  #left = loginBytesMax;
  /** Expected literal bytes. */
  #expected = 0;
  /** Remaining bytes of the current literal. */
  #literal = 0;
  #searchBytesMax = 0;
  /** Bytes of the current response, without its literals, and of its start those that are the start of SEARCH. */
  #line = 0;
  #searchHead = 0;
  /** End of the current line as received so far: bytes, not a string, as it may be part of a password. */
  readonly #tail = new Uint8Array(new ArrayBuffer(4096), 0, markerBytesMax);

  /** `exceeded` can be called more than once. */
  constructor(exceeded: () => void) {
    this.#exceeded = exceeded;
  }

  /** Resets the budget; expected literals stay. `searchBytes`: more bytes for the line of a SEARCH. */
  allow(bytes: number, searchBytes = 0): void {
    this.#left = bytes;
    this.#searchBytesMax = searchBytes;
  }

  /** Adds to the expected literal bytes. */
  expectLiterals(literalBytes: number): void {
    this.#expected += literalBytes;
  }

  /** Resets the expected literal bytes. */
  expectNoLiterals(): void {
    this.#expected = 0;
  }

  /** Counts a received chunk. */
  count(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && this.#left >= 0; ) {
      at += this.#literal > 0 ? this.#takeLiteral(chunk.length - at) : this.#takeLine(chunk, at);
    }
    if (this.#left < 0) this.#exceeded();
  }

  #takeLiteral(bytesMax: number): number {
    const bytes = Math.min(this.#literal, bytesMax);
    const expected = Math.min(this.#expected, bytes);
    this.#literal -= bytes;
    this.#expected -= expected;
    this.#left -= bytes - expected;
    return bytes;
  }

  #takeLine(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(lineFeed, from);
    const to = end < 0 ? chunk.length : end + 1;
    this.#left -= to - from;
    this.#countLine(chunk, from, to);
    this.#append(chunk, Math.max(from, to - markerBytesMax), to);
    if (end >= 0) {
      this.#literal = this.#isMarkerLine() ? this.#announcedIn(Buffer.from(this.#tail).toString('latin1')) : 0;
      this.#tail.fill(0);
      if (this.#literal === 0) this.#line = 0;
    }
    return to - from;
  }

  #countLine(chunk: Buffer, from: number, to: number): void {
    if (this.#line === 0) this.#searchHead = 0;
    for (
      let at = from;
      at < to && this.#searchHead === this.#line + at - from && this.#searchHead < searchHead.length;
      at += 1
    )
      if (isSame(chunk[at], searchHead[this.#searchHead])) this.#searchHead += 1;
    this.#line += to - from;
    const isSearch = this.#searchHead === searchHead.length;
    if (this.#line > lineBytesMax + (isSearch ? this.#searchBytesMax : 0)) this.#left = -1;
  }

  #append(chunk: Buffer, from: number, to: number): void {
    const moved = to - from;
    for (let at = 0; at < markerBytesMax; at += 1)
      this.#tail[at] =
        at + moved < markerBytesMax ? (this.#tail[at + moved] ?? 0) : (chunk[to - markerBytesMax + at] ?? 0);
  }

  /** True when the line ends in `}`. */
  #isMarkerLine(): boolean {
    const beforeLineFeed = this.#tail.at(-2);
    return (beforeLineFeed === carriageReturn ? this.#tail.at(-3) : beforeLineFeed) === closingBrace;
  }

  /** Size of the literal that the end of a line announces. */
  #announcedIn(tail: string): number {
    const [all = '', brace, digits = '0'] = marker.exec(tail) ?? [];
    // Dozens of leading zeros: no server sends them, and the parser would see another end of the literal.
    if (all.length === markerBytesMax && brace === '') this.#left = -1;
    return brace === '{' ? Number(digits) : 0;
  }
}

/** Without regard to the case of letters. */
function isSame(one: number | undefined, other: number | undefined): boolean {
  return one === other || ((one ?? 0) & upperCaseMask) === other;
}

const checksPerTimeout = 8;
const checkMsMin = 5;
/**
 * A busy main thread is not a silent server: after a long block of the event loop, input is pending at the first check.
 */
const quietChecksMin = 4;
const wholeCommandFactor = 3;

type WatchdogOptions = {
  /** Bytes received so far. */
  received(): number;
  /** The connection phase has a deadline of its own: a slow network takes no time from the login. */
  isConnecting(): boolean;
  silenceMaxMs(): number;
  /** The shortest of the deadlines. */
  readonly deadlineMinMs: number;
  /** True: at most three deadlines in total. False: no limit while bytes arrive. */
  readonly limitsTotalTime: boolean;
  readonly answers: Pick<AnswerWatch, 'awaited' | 'settled'>;
  /** `silent`: no byte within the deadline; `late`: bytes, but no completion. Can be called more than once. */
  overdue(what: 'silent' | 'late', afterMs: number): void;
};

/** Watchdog timer for one command: reports silence and excess total time, by received bytes. It ends nothing itself. */
export class Watchdog {
  readonly #watched: WatchdogOptions;
  #timer: NodeJS.Timeout | null = null;
  #isConnecting = false;
  #begun = 0;
  #heard = 0;
  #received = 0;
  #quietChecks = 0;

  /** Starts at once. */
  constructor(watched: WatchdogOptions) {
    this.#watched = watched;
    this.resume();
  }

  /** Stops the timer, as in IDLE, where silence is normal. Idempotent. */
  pause(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#watched.answers.settled();
  }

  /** Restarts with full deadlines. */
  resume(): void {
    this.pause();
    this.#begun = performance.now();
    this.#heard = this.#begun;
    this.#isConnecting = this.#watched.isConnecting();
    this.#received = this.#watched.received();
    this.#quietChecks = 0;
    this.#watched.answers.awaited();
    const every = Math.max(checkMsMin, this.#watched.deadlineMinMs / checksPerTimeout);
    const timer = setInterval(() => setImmediate(() => this.#timer === timer && this.#check()), every);
    this.#timer = timer;
  }

  #check(): void {
    const watched = this.#watched;
    const now = performance.now();
    if (watched.isConnecting() !== this.#isConnecting) {
      this.#isConnecting = !this.#isConnecting;
      this.#begun = now;
    }
    const received = watched.received();
    this.#quietChecks = received === this.#received ? this.#quietChecks + 1 : 0;
    if (this.#quietChecks === 0) this.#heard = now;
    this.#received = received;
    const limitMs = watched.silenceMaxMs();
    const isSilent = this.#quietChecks >= quietChecksMin && now - this.#heard >= limitMs;
    const isLate = watched.limitsTotalTime && now - this.#begun > wholeCommandFactor * limitMs;
    if (isSilent) watched.overdue('silent', now - this.#heard);
    else if (isLate) watched.overdue('late', now - this.#begun);
  }
}
