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

export type Watched = {
  /** Bytes received so far. */
  received(): number;
  /** Connecting and what follows have different deadlines: a slow network takes nothing from the login. */
  isConnecting(): boolean;
  silenceMsMax(): number;
  /** The shortest of the deadlines. */
  readonly deadlineMsMin: number;
  /** False for what may take as long as bytes flow; else it may take three deadlines in all. */
  readonly whole: boolean;
  /** `silent`: no byte for the deadline; `late`: bytes, but no end. May be called more than once. */
  overdue(what: 'silent' | 'late', afterMs: number): void;
};

export class Watchdog {
  readonly #watched: Watched;
  #timer: NodeJS.Timeout | null = null;
  #isConnecting = false;
  #begun = 0;
  #heard = 0;
  #received = 0;
  #quietChecks = 0;

  /** Watches from now on, until `rest`. */
  constructor(watched: Watched) {
    this.#watched = watched;
    this.resume();
  }

  /** Stops watching; again is fine. */
  rest(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Watches anew, with whole deadlines. */
  resume(): void {
    this.rest();
    this.#begun = performance.now();
    this.#heard = this.#begun;
    this.#isConnecting = this.#watched.isConnecting();
    this.#received = this.#watched.received();
    this.#quietChecks = 0;
    const every = Math.max(checkMsMin, this.#watched.deadlineMsMin / checksPerTimeout);
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
    const limitMs = watched.silenceMsMax();
    const isSilent = this.#quietChecks >= quietChecksMin && now - this.#heard >= limitMs;
    const isLate = watched.whole && now - this.#begun > wholeCommandFactor * limitMs;
    if (isSilent) watched.overdue('silent', now - this.#heard);
    else if (isLate) watched.overdue('late', now - this.#begun);
  }
}
