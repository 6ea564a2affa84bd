/**
 * Fixtures for the database tests: mailboxes, messages and batches.
 */
import { createUuidV7Generator } from '../../../src/adapters/process/uuid-v7.ts';
import type { EncryptionStore } from '../../../src/encryption/ports.ts';
import type { LookupRequest } from '../../../src/ingest/batch-lookup.ts';
import type {
  AuditActor,
  Batch,
  Mailbox,
  NewMessage,
  NewOutcome,
  NewPassword,
  NewTicket,
} from '../../../src/ingest/model.ts';
import type { BatchStore } from '../../../src/ingest/stores.ts';
import type { Attachment, ParsedMessage } from '../../../src/mail/message.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';

/** Sorted as in production: messages of one moment are listed in this order. */
const newId = createUuidV7Generator(Date.now);

export const nowMs = Date.UTC(2024, 4, 17, 9, 30, 15, 250);

export function secret(text: string): SecretBytes {
  return SecretBytes.take(Buffer.from(text));
}

export const by: AuditActor = { who: 'ada@desk', host: 'desk' };

/** As it was prepared for the row that a new database has. */
export function plain(text: string): NewPassword {
  return { form: 'plain', password: secret(text), switchRevision: 0 };
}

/** As it would be prepared now, if encryption were off. */
export async function plainNow(store: Pick<EncryptionStore, 'readSwitch'>, text: string): Promise<NewPassword> {
  return { ...plain(text), switchRevision: (await store.readSwitch()).row?.revision ?? 0 };
}

/** A placeholder for a sealed password: the store never parses it. */
export function sealed(keyId: string, text = `sealed under ${keyId}`): NewPassword {
  return { form: 'sealed', sealed: Buffer.from(text), keyId, switchRevision: 0, settingsSeal: null };
}

export async function pendingUids(store: BatchStore, mailboxId: string, folderEpoch: number, limit = 10) {
  return (await store.pendingActions(mailboxId, folderEpoch, limit)).map(({ uid }) => uid);
}

export function sampleMailbox(more: Partial<Mailbox> = {}): Mailbox {
  const id = newId();
  return {
    id,
    name: `box ${id}`,
    connection: {
      host: 'mail.example.org',
      port: 993,
      tls: 'implicit',
      caPem: null,
      fingerprint: null,
      allowPlaintext: false,
      user: 'support@example.org',
      folder: 'INBOX',
    },
    start: { from: 'all' },
    postAction: { kind: 'seen' },
    pollIntervalMs: null,
    grant: null,
    addresses: ['support@example.org'],
    state: 'active',
    ...more,
  };
}

export function sampleParsed(more: Partial<ParsedMessage> = {}): ParsedMessage {
  return {
    messageId: `${newId()}@example.org`,
    messageIdMissing: false,
    inReplyTo: [],
    references: [],
    from: { name: 'Ada', address: 'ada@example.org' },
    replyTo: [],
    to: [{ name: '', address: 'support@example.org' }],
    cc: [],
    subject: 'Printer on fire',
    sentAtMs: nowMs,
    text: 'It burns.\n',
    html: null,
    headers: [['x-mailer', 'sample']],
    kind: 'human',
    bounce: null,
    reportedMessageId: null,
    marks: [],
    protection: null,
    attachments: [],
    contentHash: 'c'.repeat(64),
    ...more,
  };
}

export function sampleAttachment(more: Partial<Attachment> = {}): Attachment {
  return {
    name: 'photo.png',
    type: 'image/png',
    sizeBytes: 3,
    sha256: 'a'.repeat(64),
    contentId: null,
    inline: false,
    content: new Uint8Array(new ArrayBuffer(3)),
    ...more,
  };
}

type Opened = { readonly ticket: NewTicket; readonly message: NewMessage; readonly outcome: NewOutcome };

/** A message that opens a ticket. */
export function opened(uid: number, more: Partial<ParsedMessage> = {}): Opened {
  const parsed = sampleParsed(more);
  const ticket: NewTicket = {
    id: newId(),
    ref: newId().slice(-12),
    subject: parsed.subject,
    requester: parsed.from ?? { name: '', address: '' },
    createdAtMs: nowMs,
    isOrphan: false,
  };
  const message: NewMessage = {
    id: newId(),
    ticketId: ticket.id,
    threadRule: null,
    receivedAtMs: nowMs,
    parsed,
    missing: [],
    repeatKey: null,
  };
  return { ticket, message, outcome: outcomeOf(uid, 'ticket_opened', ticket.id, message.id) };
}

export function outcomeOf(
  uid: number,
  outcome: NewOutcome['outcome'],
  ticketId: string | null,
  messageId: string | null,
  more: Partial<NewOutcome> = {},
): NewOutcome {
  return {
    uid,
    outcome,
    reason: null,
    ticketId,
    messageId,
    sizeBytes: 1000,
    receivedAtMs: nowMs,
    raw: null,
    actionPending: true,
    dedupKey: null,
    ...more,
  };
}

/** A batch of such messages; the cursor ends at the last of them. */
export function batchOf(folderEpoch: number, messages: readonly Opened[]): Batch {
  return batchWith({
    cursor: { folderEpoch, uid: Math.max(...messages.map((mail) => mail.outcome.uid)) },
    tickets: messages.map((mail) => mail.ticket),
    messages: messages.map((mail) => mail.message),
    outcomes: messages.map((mail) => mail.outcome),
  });
}

/** A batch of these parts, and of nothing else. */
export function batchWith(parts: Partial<Batch> & Pick<Batch, 'cursor'>): Batch {
  return { tickets: [], messages: [], outcomes: [], links: [], merges: [], answered: [], ...parts };
}

/** What is asked for, and nothing else. */
export function questionWith(parts: Partial<LookupRequest> & Pick<LookupRequest, 'mailboxId'>): LookupRequest {
  return {
    messageIds: [],
    people: [],
    answers: [],
    refs: [],
    claims: [],
    dedupKeys: [],
    own: [],
    repeats: null,
    senders: null,
    closedBeforeMs: null,
    needsReplyKeys: false,
    ...parts,
  };
}
