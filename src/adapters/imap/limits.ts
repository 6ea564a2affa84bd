/**
 * Counts what the server sends, before anything is parsed, and tells when it is more than it may be.
 *
 * A line costs a thousand times what its bytes cost on the way in, so a server that talks without end would take the
 * whole thread long before a deadline. Each command, each rest and each pause between two has its own bound. Mails
 * that were asked for come as literals (RFC 9051 section 4.3) and are cheap: those that are expected count apart.
 */

/** From the greeting until the login is done. */
export const loginBytesMax = 64 * 1024;
/** Beyond what a command asks for: a change of flags of some ten thousand mails. */
export const commandBytesMax = 1024 * 1024;
/** When a folder is opened, and while nothing was asked for: in IDLE, and between two commands. */
export const idleBytesMax = 256 * 1024;

const lineFeed = 0x0a;
/** `{`, the digits of a 64-bit number, `}`, CR and LF. */
const markerBytesMax = 24;
const marker = /(\{?)([0-9]+)\}\r?\n$/;

export class InboundLimit {
  readonly #exceeded: () => void;
  #left = loginBytesMax;
  /** Of literals that are expected. */
  #expected = 0;
  /** Still to come of the literal that has begun. */
  #literal = 0;
  /** The end of what has come of the line that has begun, in latin1. */
  #tail = '';

  /** `exceeded` may be called more than once. */
  constructor(exceeded: () => void) {
    this.#exceeded = exceeded;
  }

  /** Begins anew with so many bytes; literals that are expected stay. */
  allow(bytes: number): void {
    this.#left = bytes;
  }

  /** So many bytes more may come as literals. */
  expectLiterals(literalBytes: number): void {
    this.#expected += literalBytes;
  }

  /** No literal is expected any more. */
  expectNoLiterals(): void {
    this.#expected = 0;
  }

  /** Counts what has arrived, in its order. */
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
    const tail = this.#tail + chunk.toString('latin1', Math.max(from, to - markerBytesMax), to);
    this.#tail = end < 0 ? tail.slice(-markerBytesMax) : '';
    this.#left -= to - from;
    if (end >= 0) this.#literal = this.#announcedIn(tail.slice(-markerBytesMax));
    return to - from;
  }

  /** The bytes of the literal that the end of a line announces. */
  #announcedIn(tail: string): number {
    const [all = '', brace, digits = '0'] = marker.exec(tail) ?? [];
    // Zeros in front, by the dozen: no server does that, but where the literal ends would be seen differently later.
    if (all.length === markerBytesMax && brace === '') this.#left = -1;
    return brace === '{' ? Number(digits) : 0;
  }
}

/**
 * Notices that a server is silent, or too slow in all, during one command. It only looks and tells; it ends nothing.
 *
 * Bytes that arrive are what counts, not answers. It can rest while silence is no sign (IDLE): it has no timer then.
 */

const checksPerTimeout = 8;
const checkMsMin = 5;
/** A main thread that was busy is not a silent server: after a long turn there is only one check, and input to read. */
const quietChecksMin = 4;
const wholeCommandFactor = 3;

type WatchdogOptions = {
  /** Bytes received so far. */
  received(): number;
  /** Connecting and what follows have different deadlines: a slow network takes nothing from the login. */
  isConnecting(): boolean;
  silenceMaxMs(): number;
  /** The shortest of the deadlines. */
  readonly deadlineMinMs: number;
  /** False for what may take as long as bytes flow; else it may take three deadlines in all. */
  readonly limitsTotalTime: boolean;
  /** `silent`: no byte for the deadline; `late`: bytes, but no end. May be called more than once. */
  overdue(what: 'silent' | 'late', afterMs: number): void;
};

export class Watchdog {
  readonly #watched: WatchdogOptions;
  #timer: NodeJS.Timeout | null = null;
  #isConnecting = false;
  #begun = 0;
  #heard = 0;
  #received = 0;
  #quietChecks = 0;

  /** Watches from now on, until `rest`. */
  constructor(watched: WatchdogOptions) {
    this.#watched = watched;
    this.resume();
  }

  /** Stops watching; again is fine. */
  pause(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Watches anew, with whole deadlines. */
  resume(): void {
    this.pause();
    this.#begun = performance.now();
    this.#heard = this.#begun;
    this.#isConnecting = this.#watched.isConnecting();
    this.#received = this.#watched.received();
    this.#quietChecks = 0;
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
