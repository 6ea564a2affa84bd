/**
 * Delivers messages all the time, several a second, straight into the folders of the mail server, which may be down
 * meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { itemAt, type SeededRandom } from '../support/random.ts';
import { createMailWriter, type SentMail } from './mail.ts';
import type { Scene } from './scene.ts';

export type Sender = {
  readonly sent: readonly SentMail[];
  /** Delivers no more. */
  stop(): Promise<void>;
} & AsyncDisposable;

export function startSender(scene: Scene, messagesPerS: number, random: SeededRandom): Sender {
  const sent: SentMail[] = [];
  const stop = new AbortController();
  const writer = createMailWriter(random, scene.mailboxes.length);
  const sending = (async () => {
    while (!stop.signal.aborted) {
      // Gaps as between independent events, so that some come in a bunch.
      await sleep((-Math.log(1 - random.fraction()) * 1_000) / messagesPerS);
      const { mail, bytes } = writer.next(Date.now());
      await scene.dovecot.append(itemAt(scene.mailboxes, mail.mailbox).user, 'INBOX', [bytes]);
      sent.push(mail);
    }
  })();
  const end = (): Promise<void> => {
    stop.abort();
    return sending;
  };
  return { sent, stop: end, [Symbol.asyncDispose]: end };
}
