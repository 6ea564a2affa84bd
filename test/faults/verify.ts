/**
 * Counts at the end what became of every message: in the tables, on the disks of the workers, and on the mail server.
 *
 * It reads the tables with SQL of its own and asks the product nothing but `reconcile`. Each message must have
 * exactly one outcome and exactly the message and ticket that its kind calls for, its attachment byte for byte, and
 * the flag that says so on the server. What is wrong comes back as one sentence for each message.
 */
import { ImapFlow } from 'imapflow';
import { createConnection } from 'mysql2/promise';
import { blobSha256 } from '../support/verification/verify.ts';
import type { SentMail } from './mail.ts';
import type { Mailbox, Scene } from './scene.ts';

/** Not there, there more than once, or there and not as it has to be; the gravest first. */
const harms = ['lost', 'doubled', 'half'] as const;
export type Harm = (typeof harms)[number];

type Problem = { readonly harm: Harm; readonly what: string };

export type Wrong = Problem & { readonly mail: SentMail | null; readonly uid: number | null };

export type Verification = {
  readonly mails: number;
  /** Each message by the gravest that became of it. */
  readonly harmed: Readonly<Record<Harm, number>>;
  readonly tickets: number;
  readonly messages: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly attachmentsIdentical: number;
  readonly seen: number;
  readonly wrong: readonly Wrong[];
};

type OutcomeRow = {
  readonly mailbox: string;
  readonly uid: number;
  readonly outcome: string;
  readonly ticketId: string | null;
  readonly messageId: string | null;
  readonly actionPending: number;
};
type MessageRow = { readonly id: string; readonly subject: string; readonly ticketId: string | null };
type TicketRow = { readonly id: string; readonly subject: string };
type AttachmentRow = { readonly messageId: string; readonly sha256: string };
type Stored = {
  readonly outcomes: readonly OutcomeRow[];
  readonly messages: readonly MessageRow[];
  readonly tickets: readonly TicketRow[];
  readonly attachments: readonly AttachmentRow[];
};
type OnServer = { readonly uid: number; readonly isSeen: boolean };

const expectedOutcomes: Readonly<Record<SentMail['kind'], string>> = {
  plain: 'ticket_opened',
  attachment: 'ticket_opened',
  twin: 'ticket_opened',
  broken: 'ticket_opened',
  reply: 'reply_added',
  too_large: 'quarantined',
};

export async function verify(scene: Scene, sent: readonly SentMail[]): Promise<Verification> {
  const [stored, onServer] = [await readStored(scene.databaseUrl), await readServer(scene)];
  const facts = index(scene, stored, onServer);
  const wrong: Wrong[] = [...sent.flatMap((mail) => checkMail(mail, facts)), ...checkRest(sent, stored)];
  let attachmentsIdentical = 0;
  for (const mail of sent.filter(({ attachmentSha256 }) => attachmentSha256 !== null)) {
    const problem = await checkAttachment(mail, facts, scene);
    if (problem === null) attachmentsIdentical += 1;
    else wrong.push({ mail, uid: facts.onServer.get(mail.mark)?.[0]?.uid ?? null, harm: 'half', what: problem });
  }
  const [first] = scene.workers;
  const reconciled = await first?.command(['reconcile']);
  if (reconciled?.code !== 0) wrong.push(ofNoMail('half', `reconcile: ${reconciled?.output.trim()}`));
  return {
    mails: sent.length,
    harmed: countHarmed(wrong),
    tickets: stored.tickets.length,
    messages: stored.messages.length,
    outcomes: Object.fromEntries(
      [...Map.groupBy(stored.outcomes, ({ outcome }) => outcome)].map(([outcome, rows]) => [outcome, rows.length]),
    ),
    attachmentsIdentical,
    seen: [...onServer.values()].flat().filter(({ isSeen }) => isSeen).length,
    wrong,
  };
}

function countHarmed(wrong: readonly Wrong[]): Record<Harm, number> {
  const groups = [...Map.groupBy(wrong, ({ mail, what }) => mail ?? what).values()];
  const gravest = groups.map((group) => harms.find((harm) => group.some((one) => one.harm === harm)));
  const count = (harm: Harm): number => gravest.filter((one) => one === harm).length;
  return { lost: count('lost'), doubled: count('doubled'), half: count('half') };
}

function ofNoMail(harm: Harm, what: string): Wrong {
  return { mail: null, uid: null, harm, what };
}

type Facts = {
  /** By mark; more than one entry would be a message that the server has twice. */
  readonly onServer: ReadonlyMap<string, readonly OnServer[]>;
  /** By `mailbox uid`. */
  readonly outcomes: ReadonlyMap<string, readonly OutcomeRow[]>;
  /** By mark. */
  readonly messages: ReadonlyMap<string, readonly MessageRow[]>;
  readonly tickets: ReadonlyMap<string, readonly TicketRow[]>;
  /** By the id of the message. */
  readonly attachments: ReadonlyMap<string, readonly AttachmentRow[]>;
  readonly mailboxName: (mail: SentMail) => string;
};

function index(scene: Scene, stored: Stored, onServer: Facts['onServer']): Facts {
  return {
    onServer,
    outcomes: Map.groupBy(stored.outcomes, ({ mailbox, uid }) => `${mailbox} ${uid}`),
    messages: Map.groupBy(stored.messages, ({ subject }) => markIn(subject)),
    tickets: Map.groupBy(stored.tickets, ({ subject }) => markIn(subject)),
    attachments: Map.groupBy(stored.attachments, ({ messageId }) => messageId),
    mailboxName: (mail) => scene.mailboxes[mail.mailbox]?.name ?? '',
  };
}

function markIn(subject: string): string {
  return /F\d{6}/.exec(subject)?.[0] ?? '';
}

function checkMail(mail: SentMail, facts: Facts): readonly Wrong[] {
  const found = facts.onServer.get(mail.mark) ?? [];
  const [onServer] = found;
  if (onServer === undefined || found.length !== 1)
    return [{ mail, uid: null, harm: harmOf(found.length, 1), what: `${found.length} times on the server` }];
  const { uid, isSeen } = onServer;
  const rows = facts.outcomes.get(`${facts.mailboxName(mail)} ${uid}`) ?? [];
  const problems = [...checkOutcome(mail, rows), ...checkStored(mail, rows[0], facts)];
  const shouldBeSeen = mail.kind !== 'too_large';
  if (isSeen !== shouldBeSeen) problems.push(half(isSeen ? 'marked as seen, and is not stored' : 'not marked as seen'));
  return problems.map((problem) => ({ mail, uid, ...problem }));
}

function half(what: string): Problem {
  return { harm: 'half', what };
}

function harmOf(count: number, expected: number): Harm {
  return count < expected ? 'lost' : 'doubled';
}

function checkOutcome(mail: SentMail, rows: readonly OutcomeRow[]): readonly Problem[] {
  const [row] = rows;
  if (row === undefined || rows.length > 1) return [{ harm: harmOf(rows.length, 1), what: `${rows.length} outcomes` }];
  const expected = expectedOutcomes[mail.kind];
  return [
    ...(row.outcome === expected ? [] : [half(`${row.outcome} where ${expected} was expected`)]),
    ...(row.actionPending === 1 ? [half('its action on the server is pending')] : []),
  ];
}

/** Its message and its ticket, and that each is the other's. */
function checkStored(mail: SentMail, row: OutcomeRow | undefined, facts: Facts): Problem[] {
  const messages = facts.messages.get(mail.mark) ?? [];
  const tickets = facts.tickets.get(mail.mark) ?? [];
  const isStored = mail.kind !== 'too_large';
  const opens = isStored && mail.kind !== 'reply';
  const problems: Problem[] = [];
  const wanted = isStored ? 1 : 0;
  if (messages.length !== wanted)
    problems.push({ harm: harmOf(messages.length, wanted), what: `${messages.length} messages` });
  if (tickets.length !== (opens ? 1 : 0))
    problems.push({ harm: tickets.length === 0 ? 'half' : 'doubled', what: `${tickets.length} tickets` });
  const [message] = messages;
  if (message === undefined) return problems;
  const ticketId = tickets[0]?.id ?? facts.tickets.get(mail.replyTo ?? '')?.[0]?.id ?? null;
  if (ticketId === null || message.ticketId !== ticketId)
    problems.push(half('its message is in another ticket, or in none'));
  if (row?.messageId !== message.id || row.ticketId !== ticketId)
    problems.push(half('its outcome names another message or ticket'));
  return problems;
}

/** Rows that belong to no sent message. */
function checkRest(sent: readonly SentMail[], { outcomes, messages, tickets }: Stored): readonly Wrong[] {
  const marks = new Set(sent.map(({ mark }) => mark));
  const used = new Set(messages.map(({ ticketId }) => ticketId));
  return [
    ...messages
      .filter(({ subject }) => !marks.has(markIn(subject)))
      .map(({ id }) => ofNoMail('doubled', `message ${id} of no mail`)),
    ...tickets.filter(({ id }) => !used.has(id)).map(({ id }) => ofNoMail('half', `ticket ${id} without message`)),
    ...(outcomes.length === sent.length
      ? []
      : [ofNoMail(harmOf(outcomes.length, sent.length), `${outcomes.length} outcomes of ${sent.length} mails`)]),
  ];
}

/** null: the file is on the disk of one of the workers, as it was sent. */
async function checkAttachment(mail: SentMail, facts: Facts, { workers }: Scene): Promise<string | null> {
  const sha256 = mail.attachmentSha256 ?? '';
  const [message] = facts.messages.get(mail.mark) ?? [];
  const rows = message === undefined ? [] : (facts.attachments.get(message.id) ?? []);
  if (rows.length !== 1 || rows[0]?.sha256 !== sha256) return `${rows.length} attachments, or another one`;
  for (const { dataDir } of workers) {
    const found = await blobSha256(dataDir, sha256);
    if (found === sha256) return null;
    if (found !== null) return 'the file of its attachment holds other bytes';
  }
  return 'the file of its attachment is on no disk';
}

async function readStored(url: string): Promise<Stored> {
  const connection = await createConnection(url);
  try {
    const rows = async <T>(query: string) => (await connection.query(query))[0] as T[];
    await connection.query('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
    return {
      outcomes: await rows<OutcomeRow>(
        'SELECT name AS mailbox, uid, outcome, ticket_id AS ticketId, message_id AS messageId, action_pending AS actionPending FROM outcome JOIN mailboxes ON mailboxes.id = outcome.mailbox_id',
      ),
      messages: await rows<MessageRow>('SELECT id, subject, ticket_id AS ticketId FROM message'),
      tickets: await rows<TicketRow>('SELECT id, subject FROM ticket'),
      attachments: await rows<AttachmentRow>('SELECT message_id AS messageId, sha256 FROM attachment'),
    };
  } finally {
    await connection.end();
  }
}

/** Every message of every mailbox, by its mark. */
async function readServer(scene: Scene): Promise<Facts['onServer']> {
  const found = new Map<string, OnServer[]>();
  for (const mailbox of scene.mailboxes)
    for (const [mark, mail] of await readMailbox(scene, mailbox)) {
      const same = found.get(mark);
      if (same === undefined) found.set(mark, [mail]);
      else same.push(mail);
    }
  return found;
}

async function readMailbox(
  { dovecot, mailPassword }: Scene,
  { user }: Mailbox,
): Promise<readonly [string, OnServer][]> {
  const client = new ImapFlow({
    ...{ host: '127.0.0.1', port: dovecot.port, secure: false, doSTARTTLS: false },
    auth: { user, pass: Buffer.from(mailPassword).toString() },
    logger: false,
  });
  await client.connect();
  const lock = await client.getMailboxLock('INBOX', { readOnly: true });
  const mails: [string, OnServer][] = [];
  try {
    for await (const { uid, flags, headers } of client.fetch('1:*', { flags: true, headers: ['x-fault-mark'] }))
      mails.push([markIn(String(headers)), { uid, isSeen: flags?.has('\\Seen') === true }]);
  } finally {
    lock.release();
    await client.logout();
  }
  return mails;
}
