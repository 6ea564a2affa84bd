/** The program for the simulated conversations: parser, lookup, decision and commit on a SQLite file. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate } from 'node:timers/promises';
import { type Database, openDatabase } from '../../../src/adapters/database/database.ts';
import { createUuidV7Generator } from '../../../src/adapters/process/uuid-v7.ts';
import { batchContextOf, type TicketRules } from '../../../src/ingest/decide/batch-context.ts';
import { commitMessages } from '../../../src/ingest/decide/commit.ts';
import type { StoredMessage } from '../../../src/ingest/fetch/fetched-message.ts';
import { fingerprintMessage } from '../../../src/mail/fingerprint.ts';
import { parseMessage } from '../../../src/mail/parse.ts';
import { newReference, replyAddress, replyMessageId } from '../../../src/mail/thread/reply-token.ts';
import { by, plain, sampleMailbox } from '../../adapters/database/samples.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import type { Arrival, Program, Stored } from './thread-run.ts';

const minuteMs = 60_000;
const folderEpoch = 1;
const noLimits: TicketRules = { senderPerHourMax: null, senderExempt: [], reopenMs: null };

/** Everything is undone with `stack`. */
export async function threadProgram(
  stack: AsyncDisposableStack,
  rules: TicketRules = noLimits,
): Promise<Program & { readonly db: Database; readonly path: string }> {
  const path = join(stack.use(await temporaryFolder('threads')).path, 'tickets.db');
  const db = stack.use(await openDatabase({ kind: 'sqlite', path }));
  await db.migrations.apply();
  const [support, sales] = [await leased(db, 'support@desk.test'), await leased(db, 'sales@desk.test')];
  const mailboxes = { support, sales };
  const newId = createUuidV7Generator(Date.now);
  const key = new Uint8Array(32).fill(7);
  await db.writeReplyKeys([{ id: 1, secret: key, keyId: null, before: null, isRetired: false }]);
  const openReplyKeys = async () => [{ secret: key, ticketsUntilMs: null }];
  const newRef = () => newReference(Date.UTC(2026, 10, 2), randomBytes);
  return {
    ...{ db, path },
    commit: async (name, arrivals) => {
      const { mailbox, lease } = mailboxes[name];
      const clock = { nowMs: () => arrivals.at(-1)?.receivedAtMs ?? 0 };
      const batch: StoredMessage[] = [];
      for (const arrival of arrivals) {
        batch.push(await parsed(arrival));
        // The parser has a thread of its own.
        await setImmediate();
      }
      const batchContext = batchContextOf(mailbox, { clock, newId, newRef, openReplyKeys }, rules);
      await commitMessages(batch, { lease, folderEpoch, batchContext, sealOutcome: () => null }, db);
    },
    stored: (name) => readStored(path, mailboxes[name].mailbox.id),
    replyAddress: (ref, address) => replyAddress(key, ref, address) ?? '',
    replyMessageId: (ref, number) => replyMessageId(key, ref, Buffer.from(`${number}`), 'desk.test'),
  };
}

async function leased(db: Database, address: string) {
  const mailbox = sampleMailbox({ addresses: [address] });
  await db.addMailbox(mailbox, plain('x'), null, by);
  const lease = await db.acquireLease(mailbox.id, 'me', 60 * minuteMs, null);
  if (lease === null) throw new Error('the lease is taken');
  return { mailbox, lease };
}

async function parsed({ uid, source, receivedAtMs }: Arrival): Promise<StoredMessage> {
  const message = fingerprintMessage(await parseMessage(source));
  const raw = { segment: 'none', offset: uid, lengthBytes: source.length, sha256: '0'.repeat(64) };
  return { uid, sizeBytes: source.length, receivedAtMs, what: 'parsed', ...message, raw };
}

function readStored(path: string, mailboxId: string): readonly Stored[] {
  using database = new DatabaseSync(path, { readOnly: true });
  const rows = database
    .prepare(
      'select uid, ticket_id, ref, outcome, reason from outcome left join ticket on ticket.id = outcome.ticket_id where outcome.mailbox_id = ?',
    )
    .all(mailboxId) as {
    uid: number;
    ticket_id: string | null;
    ref: string | null;
    outcome: string;
    reason: string | null;
  }[];
  return rows.map(({ uid, ticket_id: ticketId, ref, outcome, reason }) => ({ uid, ticketId, ref, outcome, reason }));
}
