/**
 * Verifier of the fault campaign: the verifier of stored mail, and of each message its outcome and its flag on the mail
 * server.
 *
 * Reads the tables with its own SQL and asks the product nothing but `reconcile`. Each message must have exactly one
 * outcome, the one that its kind calls for, and the flag that says so on the server. Differences are one sentence each.
 */
import { ImapFlow } from 'imapflow';
import { runSql } from '../support/sql.ts';
import { type Findings, verifyStored } from '../support/verification.ts';
import type { SentMail } from './mail.ts';
import type { Mailbox, Scene } from './scene.ts';

/** Not there, there more than once, or there and not as it has to be; the gravest first. */
const harms = ['lost', 'doubled', 'half'] as const;
export type Harm = (typeof harms)[number];

type Problem = { readonly harm: Harm; readonly what: string };

export type Wrong = Problem & { readonly mail: SentMail | null; readonly uid: number | null };

export type Verification = {
  readonly sent: number;
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
  readonly actionPending: number;
  /** Of its message; null without one. */
  readonly subject: string | null;
  readonly isSameTicket: number;
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

/** Grave to less grave, and the words for it. */
const findingHarms: Readonly<Record<keyof Findings, readonly [Harm, string]>> = {
  lost: ['lost', 'not stored'],
  doubled: ['doubled', 'stored more than once'],
  unknown: ['doubled', 'stored, and not to be stored'],
  emptyTickets: ['half', 'a ticket without a message'],
  misplaced: ['half', 'its message is in another ticket, or in none'],
  missingAttachments: ['half', 'its attachment is not the one that was sent, or on no disk'],
};

const outcomesSql = `
  SELECT name AS mailbox, uid, outcome, action_pending AS actionPending, message.subject,
    message.ticket_id <=> outcome.ticket_id AS isSameTicket
  FROM outcome JOIN mailboxes ON mailboxes.id = outcome.mailbox_id LEFT JOIN message ON message.id = outcome.message_id`;

export async function verify(scene: Scene, sent: readonly SentMail[]): Promise<Verification> {
  const { findings, ...counts } = await verifyStored({
    sent: sent.filter(({ kind }) => kind !== 'too_large').map((mail) => ({ ...mail, messageId: mail.mark })),
    databaseUrl: scene.databaseUrl,
    dataDir: scene.workers.map(({ dataDir }) => dataDir),
    identify: ({ subject }) => markIn(subject),
  });
  const outcomes = await runSql<OutcomeRow>(scene.databaseUrl, outcomesSql);
  const onServer = await readServer(scene);
  const byMark = new Map(sent.map((mail) => [mail.mark, mail]));
  const byUid = Map.groupBy(outcomes, ({ mailbox, uid }) => `${mailbox} ${uid}`);
  const wrong = Object.entries(findingHarms).flatMap(([finding, [harm, what]]) =>
    findings[finding as keyof Findings].map((mark): Wrong => {
      const mail = byMark.get(mark) ?? null;
      const uid = onServer.get(mark)?.[0]?.uid ?? null;
      return { mail, uid, harm, what: mail === null ? `${mark}: ${what}` : what };
    }),
  );
  for (const mail of sent) {
    const found = onServer.get(mail.mark) ?? [];
    const name = scene.mailboxes[mail.mailbox]?.name ?? '';
    const problems = checkOnServer(found) ?? checkOutcome(mail, found, byUid.get(`${name} ${found[0]?.uid}`) ?? []);
    wrong.push(...problems.map((problem) => ({ mail, uid: found[0]?.uid ?? null, ...problem })));
  }
  if (byUid.size !== sent.length)
    wrong.push(
      ofNoMail(harmOf(byUid.size, sent.length), `outcomes of ${byUid.size} messages where ${sent.length} were sent`),
    );
  const [first] = scene.workers;
  const reconciled = await first?.command(['reconcile']);
  if (reconciled?.code !== 0) wrong.push(ofNoMail('half', `reconcile: ${reconciled?.output.trim()}`));
  return {
    ...{ sent: sent.length, harmed: countHarmed(wrong), ...counts },
    outcomes: Object.fromEntries(
      [...Map.groupBy(outcomes, ({ outcome }) => outcome)].map(([outcome, rows]) => [outcome, rows.length]),
    ),
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

function markIn(subject: string): string {
  return /F\d{6}/.exec(subject)?.[0] ?? '';
}

/** null: it is there once. */
function checkOnServer({ length }: readonly OnServer[]): readonly Problem[] | null {
  return length === 1 ? null : [{ harm: harmOf(length, 1), what: `${length} times on the server` }];
}

function half(what: string): Problem {
  return { harm: 'half', what };
}

function harmOf(count: number, expected: number): Harm {
  return count < expected ? 'lost' : 'doubled';
}

/** Exactly one, of the message itself and of its ticket, done on the server too. */
function checkOutcome(mail: SentMail, [onServer]: readonly OnServer[], all: readonly OutcomeRow[]): readonly Problem[] {
  // A folder that is read again has its messages as duplicates, beside or in place of the first outcome.
  const first = all.filter(({ outcome }) => outcome !== 'duplicate');
  const rows = first.length > 0 ? first : all.slice(0, 1);
  const [row] = rows;
  if (row === undefined || rows.length > 1) return [{ harm: harmOf(rows.length, 1), what: `${rows.length} outcomes` }];
  const isStored = mail.kind !== 'too_large';
  const expected = expectedOutcomes[mail.kind];
  const isOfIt = isStored ? markIn(row.subject ?? '') === mail.mark && row.isSameTicket === 1 : row.subject === null;
  const checks: readonly (readonly [isRight: boolean, what: string])[] = [
    [
      row.outcome === expected || (isStored && row.outcome === 'duplicate'),
      `${row.outcome} where ${expected} was expected`,
    ],
    [all.every(({ actionPending }) => actionPending === 0), 'its action on the server is pending'],
    [isOfIt, 'its outcome names another message or ticket'],
    [onServer?.isSeen === isStored, isStored ? 'not marked as seen' : 'marked as seen, and is not stored'],
  ];
  return checks.flatMap(([isRight, what]) => (isRight ? [] : [half(what)]));
}

/** Every message of every mailbox, by its mark. */
async function readServer(scene: Scene): Promise<ReadonlyMap<string, readonly OnServer[]>> {
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
  const found: [string, OnServer][] = [];
  try {
    for await (const { uid, flags, headers } of client.fetch('1:*', { flags: true, headers: ['x-fault-mark'] }))
      found.push([markIn(String(headers)), { uid, isSeen: flags?.has('\\Seen') === true }]);
  } finally {
    lock.release();
    await client.logout();
  }
  return found;
}
