/**
 * One IDLE (RFC 2177, RFC 9051 section 6.3.13): begins it, waits, ends it with DONE, and waits for the tagged answer.
 *
 * imapflow's own `idle` has no way to be ended but by another command, so this is written on its `exec`. DONE may be sent
 * only after the `+` of the server: a reason that comes earlier waits for it. The watchdog watches the way into IDLE
 * and the way out, and rests between: no byte for half an hour is what IDLE is for. The one timer is that of `ms`.
 */
import type { ImapFlow } from 'imapflow';
import { Failure } from '../../errors.ts';
import { internals } from './imapflow-internals.ts';
import type { Watchdog } from './limits.ts';

export type IdleEnd = 'news' | 'quiet' | 'stopped';

/** The longest delay of a timer; a longer one would fire at once. */
const timerMaxMs = 2 ** 31 - 1;
/** A server that ends IDLE by itself sooner than this does not idle: asking again and again would be a loop. */
const serverEndMinMs = 1000;

/** The state of one IDLE on the wire. */
class IdleCommand {
  readonly #imap: ImapFlow;
  readonly #watchdog: Watchdog;
  #begunAt: number | null = null;
  #end: IdleEnd | null = null;
  #isDoneSent = false;

  constructor(imap: ImapFlow, watchdog: Watchdog) {
    this.#imap = imap;
    this.#watchdog = watchdog;
  }

  /** Asks for the end; the first reason counts. */
  end(reason: IdleEnd): void {
    this.#end ??= reason;
    this.#sendDone();
  }

  /** Resolves once the server has answered the IDLE as a whole; rejects with an error of imapflow or a `Failure`. */
  async run(): Promise<IdleEnd> {
    const tagged = await internals(this.#imap).exec('IDLE', [], { onPlusTag: async () => this.#heardPlus() });
    tagged.next();
    if (this.#end !== null) return this.#end;
    // Some servers end it after a while, in order.
    if (this.#begunAt !== null && performance.now() - this.#begunAt >= serverEndMinMs) return 'quiet';
    throw new Failure('server_refused', 'The server offers IDLE and ends it at once.');
  }

  #heardPlus(): void {
    if (this.#begunAt !== null) return;
    this.#begunAt = performance.now();
    this.#watchdog.pause();
    this.#sendDone();
  }

  #sendDone(): void {
    if (this.#begunAt === null || this.#end === null || this.#isDoneSent) return;
    this.#isDoneSent = true;
    this.#watchdog.resume();
    // When the socket is gone, that ends the command; a client that was closed has none.
    internals(this.#imap).writeSocket?.write('DONE\r\n');
  }
}

/** Idles until `announcements` has news, `ms` are over, or `stop` fires. No timer and no listener stays. */
export async function idle(
  imap: ImapFlow,
  announcements: NewMailAnnouncements,
  ms: number,
  stop: AbortSignal,
  watchdog: Watchdog,
): Promise<IdleEnd> {
  const one = new IdleCommand(imap, watchdog);
  const onStop = (): void => one.end('stopped');
  const timer = setTimeout(() => one.end('quiet'), Math.min(ms, timerMaxMs));
  stop.addEventListener('abort', onStop, { once: true });
  announcements.listen(() => one.end('news'));
  if (announcements.hasNewMail) one.end('news');
  try {
    const end = await one.run();
    // Many servers look for new mail once more before they answer the DONE.
    return end === 'quiet' && announcements.hasNewMail ? 'news' : end;
  } finally {
    announcements.listen(null);
    stop.removeEventListener('abort', onStop);
    clearTimeout(timer);
  }
}

/**
 * Hears what the server tells unasked about new mail, whatever command is in flight.
 *
 * Mail is announced by an EXISTS that raises the count, or by a RECENT that does (RFC 3501 sections 7.3.1 and 7.3.2).
 * What SELECT tells is the start, no announcement; a repeated count, an EXPUNGE and changed flags are none either.
 * imapflow keeps the count of EXISTS right when mails are expunged.
 */

export class NewMailAnnouncements {
  readonly #imap: ImapFlow;
  #recent = 0;
  #isNews = false;
  #listener: (() => void) | null = null;

  /** To be made before the folder is selected. */
  constructor(imap: ImapFlow) {
    this.#imap = imap;
    imap.on('exists', ({ count, prevCount }) => {
      if (count > prevCount) this.#announce();
    });
    internals(imap).untaggedHandlers.RECENT = async ({ command }) => this.#heardRecent(Number(command));
  }

  /** True when mail was announced since `forget`. */
  get hasNewMail(): boolean {
    return this.#isNews;
  }

  /** To be called before the mails are listed: what is announced from then on may not be in the list. */
  reset(): void {
    this.#isNews = false;
  }

  /** Calls `listener` at each announcement; null calls nobody. */
  listen(listener: (() => void) | null): void {
    this.#listener = listener;
  }

  #heardRecent(count: number): void {
    const isMore = count > this.#recent;
    this.#recent = count;
    // While a folder is being selected, none is.
    if (isMore && this.#imap.mailbox !== false) this.#announce();
  }

  #announce(): void {
    this.#isNews = true;
    this.#listener?.();
  }
}
