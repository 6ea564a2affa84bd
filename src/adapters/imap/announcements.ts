/**
 * Hears what the server tells unasked about new mail, whatever command is in flight.
 *
 * Mail is announced by an EXISTS that raises the count, or by a RECENT that does (RFC 3501 sections 7.3.1 and 7.3.2).
 * What SELECT tells is the start, no announcement; a repeated count, an EXPUNGE and changed flags are none either.
 * imapflow keeps the count of EXISTS right when mails are expunged.
 */
import type { ImapFlow } from 'imapflow';
import { inside } from './inside.ts';

export class Announcements {
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
    inside(imap).untaggedHandlers.RECENT = async ({ command }) => this.#heardRecent(Number(command));
  }

  /** True when mail was announced since `forget`. */
  get isNews(): boolean {
    return this.#isNews;
  }

  /** To be called before the mails are listed: what is announced from then on may not be in the list. */
  forget(): void {
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
