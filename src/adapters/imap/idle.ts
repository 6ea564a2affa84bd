/**
 * IDLE (RFC 2177, RFC 9051 section 6.3.13): starts it, waits for new mail, ends it with DONE, awaits the tagged
 * response.
 *
 * Built on imapflow's `exec`, in place of its own `idle`, which can be ended only by another command. DONE may be sent
 * only after the `+` of the server: an earlier reason to end waits for it. The watchdog runs while IDLE starts and
 * ends, and is paused in between: half an hour of silence is normal. The only timer is that of `ms`.
 */
import type { ImapFlow } from 'imapflow';
import { Failure } from '../../errors.ts';
import type { IdleEnd } from '../../ingest/ports.ts';
import { internals } from './imapflow-internals.ts';
import type { Watchdog } from './limits.ts';

/** The longest delay of a timer; a longer one would fire at once. */
const timerMaxMs = 2 ** 31 - 1;
/** A server that ends IDLE sooner than this does not support it in practice: repeating it would be a busy loop. */
const serverEndMinMs = 1000;

/** State of one IDLE command. */
class IdleCommand {
  readonly #imap: ImapFlow;
  readonly #watchdog: Watchdog;
  #startedAtMs: number | null = null;
  #end: IdleEnd | null = null;
  #isDoneSent = false;

  constructor(imap: ImapFlow, watchdog: Watchdog) {
    this.#imap = imap;
    this.#watchdog = watchdog;
  }

  /** Requests the end; the first reason wins. */
  end(reason: IdleEnd): void {
    this.#end ??= reason;
    this.#sendDone();
  }

  /** Resolves with the tagged response; rejects with an error of imapflow or a `Failure`. */
  async run(): Promise<IdleEnd> {
    const tagged = await internals(this.#imap).exec('IDLE', [], { onPlusTag: async () => this.#onContinuation() });
    tagged.next();
    if (this.#end !== null) return this.#end;
    // Some servers regularly end it after a while.
    if (this.#startedAtMs !== null && performance.now() - this.#startedAtMs >= serverEndMinMs) return 'timed_out';
    throw new Failure('server_refused', 'The server offers IDLE and ends it at once.');
  }

  #onContinuation(): void {
    if (this.#startedAtMs !== null) return;
    this.#startedAtMs = performance.now();
    this.#watchdog.pause();
    this.#sendDone();
  }

  #sendDone(): void {
    if (this.#startedAtMs === null || this.#end === null || this.#isDoneSent) return;
    this.#isDoneSent = true;
    this.#watchdog.resume();
    // A closed client has no socket, which ends the command.
    internals(this.#imap).writeSocket?.write('DONE\r\n');
  }
}

/** Idles until new mail is announced, `ms` are over, or `stop` aborts. Leaves no timer or listener behind. */
export async function idle(
  imap: ImapFlow,
  announcements: NewMailAnnouncements,
  ms: number,
  stop: AbortSignal,
  watchdog: Watchdog,
): Promise<IdleEnd> {
  const command = new IdleCommand(imap, watchdog);
  const onStop = (): void => command.end('stopped');
  const timer = setTimeout(() => command.end('timed_out'), Math.min(ms, timerMaxMs));
  stop.addEventListener('abort', onStop, { once: true });
  announcements.listen(() => command.end('new_messages'));
  if (announcements.hasNewMail) command.end('new_messages');
  try {
    const end = await command.run();
    // Many servers check for new mail once more before they respond to DONE.
    return end === 'timed_out' && announcements.hasNewMail ? 'new_messages' : end;
  } finally {
    announcements.listen(null);
    stop.removeEventListener('abort', onStop);
    clearTimeout(timer);
  }
}

/**
 * New mail announcements: unsolicited EXISTS or RECENT (RFC 3501 sections 7.3.1 and 7.3.2) that raises the count,
 * during any command.
 *
 * The counts of SELECT are the baseline; a repeated count, an EXPUNGE and changed flags announce nothing. imapflow
 * adjusts the count of EXISTS after an expunge.
 */
export class NewMailAnnouncements {
  readonly #imap: ImapFlow;
  #recent = 0;
  #hasNewMail = false;
  #listener: (() => void) | null = null;

  /** Create it before the folder is selected. */
  constructor(imap: ImapFlow) {
    this.#imap = imap;
    imap.on('exists', ({ count, prevCount }) => {
      if (count > prevCount) this.#announce();
    });
    internals(imap).untaggedHandlers.RECENT = async ({ command }) => this.#onRecent(Number(command));
  }

  /** True when mail was announced since `reset`. */
  get hasNewMail(): boolean {
    return this.#hasNewMail;
  }

  /** Call it before the messages are listed: one announced afterwards may not be in the list. */
  reset(): void {
    this.#hasNewMail = false;
  }

  /** Calls `listener` at each announcement; null: none. */
  listen(listener: (() => void) | null): void {
    this.#listener = listener;
  }

  #onRecent(count: number): void {
    const isMore = count > this.#recent;
    this.#recent = count;
    // No folder is selected while SELECT is in flight.
    if (isMore && this.#imap.mailbox !== false) this.#announce();
  }

  #announce(): void {
    this.#hasNewMail = true;
    this.#listener?.();
  }
}
