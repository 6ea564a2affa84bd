/**
 * Writes log lines to a file descriptor, so that a reader who is slow, gone or full never stops or ends the daemon.
 *
 * Each line is written at once: a crash right after it loses nothing. What a full pipe does not take (EAGAIN) is held, up to
 * `heldBytesMax`, and written in order as soon as there is room. Beyond that, and where writing fails (EPIPE, ENOSPC, EIO),
 * lines are lost; a line of its own tells how many as soon as one can be written again. Nothing is thrown.
 */
import { writeSync } from 'node:fs';
import { causeCode } from '../errors.ts';

export type LineWriterOptions = {
  /** The line that tells of `count` lines that were lost, with its line end. */
  readonly lostLine: (count: number, code: string) => string;
  readonly heldBytesMax?: number;
  /** As `fs.writeSync`: returns how many bytes were taken. */
  readonly writeBytes?: (fd: number, bytes: Uint8Array) => number;
};

/** `lines`: how many are lost when it is; for the line that tells of lost ones, those too. */
type Piece = { readonly bytes: Buffer; readonly lines: number };

const retryMs = 50;

export class LineWriter {
  readonly #fd: number;
  readonly #options: Required<LineWriterOptions>;
  readonly #held: Piece[] = [];
  #heldBytes = 0;
  /** True when only a part of a line is written yet. */
  #isWithinLine = false;
  #lost = { count: 0, code: '' };
  #retry: NodeJS.Timeout | null = null;

  constructor(fd: number, options: LineWriterOptions) {
    this.#fd = fd;
    this.#options = { heldBytesMax: 4 * 1024 * 1024, writeBytes: writeSync, ...options };
  }

  /** One entry, with the line end at its end. */
  write(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#heldBytes + bytes.length > this.#options.heldBytesMax) this.#lose(1, 'EAGAIN');
    else {
      this.#holdLost();
      this.#hold({ bytes, lines: 1 });
    }
    this.#push();
  }

  /** Gives what is held a last chance, for at most `waitMs`: for the end of the process. */
  flush(waitMs: number): void {
    const untilMs = performance.now() + waitMs;
    this.#holdLost();
    while (!this.#push() && performance.now() < untilMs) Atomics.wait(nobody, 0, 0, 10);
  }

  #hold({ bytes, lines }: Piece): void {
    // A line that broke off for good is ended first.
    const isAfterBroken = this.#isWithinLine && this.#held.length === 0;
    const whole = isAfterBroken ? Buffer.concat([Buffer.from('\n'), bytes]) : bytes;
    this.#held.push({ bytes: whole, lines });
    this.#heldBytes += whole.length;
  }

  #holdLost(): void {
    const { count, code } = this.#lost;
    if (count === 0) return;
    this.#lost = { count: 0, code: '' };
    this.#hold({ bytes: Buffer.from(this.#options.lostLine(count, code)), lines: count });
  }

  #lose(count: number, code: string): void {
    this.#lost = { count: this.#lost.count + count, code };
  }

  /** Writes what is held, in order. False when there is no room now: then it is tried again by itself. */
  #push(): boolean {
    for (let first = this.#held[0]; first !== undefined; first = this.#held[0]) {
      try {
        const taken = this.#options.writeBytes(this.#fd, first.bytes);
        this.#advance(first, taken);
      } catch (error) {
        const code = causeCode(error);
        if (code === 'EAGAIN') {
          this.#pushLater();
          return false;
        }
        if (code !== 'EINTR') this.#giveUp(code);
      }
    }
    return true;
  }

  #advance(first: Piece, taken: number): void {
    this.#heldBytes -= taken;
    this.#isWithinLine = taken < first.bytes.length;
    if (this.#isWithinLine) this.#held[0] = { ...first, bytes: first.bytes.subarray(taken) };
    else this.#held.shift();
  }

  #giveUp(code: string): void {
    this.#lose(
      this.#held.splice(0).reduce((sum, { lines }) => sum + lines, 0),
      code,
    );
    this.#heldBytes = 0;
  }

  /** Keeps no process alive. */
  #pushLater(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      if (!this.#push()) return;
      this.#holdLost();
      this.#push();
    }, retryMs).unref();
  }
}

/** Nobody ever wakes who waits here. */
const nobody = new Int32Array(new SharedArrayBuffer(4));
