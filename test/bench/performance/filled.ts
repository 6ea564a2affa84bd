/**
 * One mailbox of generated messages for all the runs of a scene: filled once, and as good as new for each run.
 *
 * The daemon leaves the messages where they are and marks them as read; that mark is taken away between runs. Fails
 * with what the mail server says.
 */
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { openSentMails } from '../../support/verification/sent-mails.ts';
import { appendMails, type FilledMailbox, ingestBesideDrop, type Servers } from '../ingest/ingest.ts';
import { type RunFigures, runFigures } from '../ingest/report.ts';
import { generateMails } from '../messages/generate.ts';
import type { SceneContext } from './scene.ts';

export type Reusable = FilledMailbox & { readonly asNew: () => Promise<void> } & Disposable;

export async function fillOnce(dovecot: Dovecot, count: number, progress: (line: string) => void): Promise<Reusable> {
  progress(`filling a mailbox with ${count} mails`);
  const user = dovecot.newUser();
  const sent = openSentMails();
  try {
    await appendMails(dovecot, user, generateMails({ count }), sent.add);
  } catch (error) {
    sent[Symbol.dispose]();
    throw error;
  }
  return {
    ...{ user, count, mails: sent.mails },
    asNew: () => dovecot.unsee(user, 'INBOX'),
    [Symbol.dispose]: () => sent[Symbol.dispose](),
  };
}

/** One run beside imapflow, which fetches and drops the same messages. */
export async function runBesideDrop(
  servers: Servers,
  filled: Reusable,
  progress: SceneContext['progress'],
): Promise<{ readonly figures: RunFigures; readonly exact: boolean }> {
  await filled.asNew();
  const run = await ingestBesideDrop(servers, filled, progress);
  return { figures: runFigures(run, filled.count), exact: run.exact };
}
