/**
 * IDLE (RFC 2177, RFC 9051 section 6.3.13): starts it, waits for new mail, ends it with DONE, awaits the tagged
 * response.
 *
 * Built on imapflow's `exec`, in place of its own `idle`, which can be ended only by another command. DONE may be sent
 * only after the `+` of the server: an earlier reason to end waits for it. The watchdog runs while IDLE starts and
 * ends, and is paused in between: half an hour of silence is normal. The only timer is that of `ms`. Meanwhile IDLE can
 * be renewed, which shows whether the server answers.
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

/** `renewed`: IDLE follows again, so that the server has to answer. */
type CommandEnd = IdleEnd | 'renewed';

/** State of one IDLE command. */
class IdleCommand {
  readonly #imap: ImapFlow;
  readonly #watchdog: Watchdog;
  #startedAtMs: number | null = null;
  #end: CommandEnd | null = null;
  #isDoneSent = false;

  constructor(imap: ImapFlow, watchdog: Watchdog) {
    this.#imap = imap;
    this.#watchdog = watchdog;
  }

  /** Requests the end; the first reason wins. */
  end(reason: CommandEnd): void {
    this.#end ??= reason;
    this.#sendDone();
  }

  /** Resolves with the tagged response; rejects with an error of imapflow or a `Failure`. */
  async run(): Promise<CommandEnd> {
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

/** Idling: one IDLE command, or several where it is renewed in between. */
export class Idling {
  readonly #imap: ImapFlow;
  readonly #announcements: NewMailAnnouncements;
  readonly #watchdog: Watchdog;
  #command: IdleCommand;
  #end: IdleEnd | null = null;

  constructor(imap: ImapFlow, announcements: NewMailAnnouncements, watchdog: Watchdog) {
    this.#imap = imap;
    this.#announcements = announcements;
    this.#watchdog = watchdog;
    this.#command = new IdleCommand(imap, watchdog);
  }

  /** Sends DONE and IDLE again. */
  renew(): void {
    this.#command.end('renewed');
  }

  /** Idles until new mail is announced, `ms` are over, or `stop` aborts. Leaves no timer or listener behind. */
  async until(ms: number, stop: AbortSignal): Promise<IdleEnd> {
    const onStop = (): void => this.#request('stopped');
    const timer = setTimeout(() => this.#request('timed_out'), Math.min(ms, timerMaxMs));
    stop.addEventListener('abort', onStop, { once: true });
    this.#announcements.listen(() => this.#request('new_messages'));
    if (this.#announcements.hasNewMail) this.#request('new_messages');
    try {
      const end = await this.#ended();
      // Many servers check for new mail once more before they respond to DONE.
      return end === 'timed_out' && this.#announcements.hasNewMail ? 'new_messages' : end;
    } finally {
      this.#announcements.listen(null);
      stop.removeEventListener('abort', onStop);
      clearTimeout(timer);
    }
  }

  #request(end: IdleEnd): void {
    this.#end ??= end;
    this.#command.end(end);
  }

  async #ended(): Promise<IdleEnd> {
    for (;;) {
      const end = await this.#command.run();
      if (end !== 'renewed') return end;
      // Requested while DONE was in flight.
      if (this.#end !== null) return this.#end;
      this.#watchdog.resume();
      this.#command = new IdleCommand(this.#imap, this.#watchdog);
    }
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
