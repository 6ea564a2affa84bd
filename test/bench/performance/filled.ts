/**
 * One mailbox of generated messages for all the runs of a scene: filled once, and as good as new for each run.
 *
 * The daemon leaves the messages where they are and marks them as read; that mark is taken away between runs. Fails
 * with what the mail server says.
 */
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { appendMessages, type FilledMailbox, ingestBesideDrop, type Servers } from '../ingest/ingest.ts';
import { generateMessages } from '../messages/generate.ts';
import { type RunFigures, runFigures } from './run-figures.ts';
import type { SceneContext } from './scene.ts';

export type Reusable = FilledMailbox & { readonly asNew: () => Promise<void> };

export async function fillOnce(dovecot: Dovecot, count: number, progress: (line: string) => void): Promise<Reusable> {
  progress(`filling a mailbox with ${count} messages`);
  const user = dovecot.newUser();
  const sent = await appendMessages(dovecot, user, generateMessages({ count }));
  return { user, count, sent, asNew: () => dovecot.unsee(user, 'INBOX') };
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
