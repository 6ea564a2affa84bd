/**
 * The mailboxes that are due, the longest overdue first, and no crowd of them keeps the others off the list.
 *
 * A list of the longest overdue alone would fill up with those that nobody can visit, and they stay the longest overdue. So
 * those that failed and those that did not share it: half for each, and what one leaves free is the other's. A server of
 * which very many are due (it hangs, or its limit is used up) is left out of a second look, so that its mailboxes cannot
 * take all of a share while others are due; and servers that are left alone now are not looked at.
 */
import { type ExpressionBuilder, type SqlBool, sql } from 'kysely';
import type { Connection } from '../../ingest/model.ts';
import type { DueMailbox } from '../../ingest/stores.ts';
import type { DialectWords } from './dialect-words.ts';
import { dueOf, scheduled } from './due-rows.ts';
import { isRunOut } from './lease-store.ts';
import { mailboxColumns, validMailbox } from './mailbox-rows.ts';
import { isWaiting } from './password-rows.ts';
import type { Connected, Tables } from './tables.ts';

type MailboxWhere = ExpressionBuilder<Tables, 'mailboxes'>;
type Server = Pick<Connection, 'host' | 'port'>;

export type DueQuestion = {
  readonly limit: number;
  readonly keyIds: readonly string[];
  readonly loginRefusalsMax: number;
  /** Servers of which no mailbox is wanted. */
  readonly closed: readonly Server[];
};

/** `at` is the text of the table: what sorts there sorts here. */
type Candidate = { readonly mailbox: DueMailbox; readonly at: string };

/** So many looks for each share; a second one is needed only where a server has a crowd of mailboxes. */
const looksMax = 4;
/** A server that has more than this part of a list is left out of the next look. */
const crowdPart = 4;
/** So many servers a statement names. The mailboxes of further ones are a crowd like any other. */
const namedMax = 100;

export async function dueMailboxes(
  db: Connected,
  words: DialectWords,
  question: DueQuestion,
): Promise<readonly DueMailbox[]> {
  const { limit } = question;
  const well = await candidates(db, words, question, false, limit);
  const failingMax = Math.max(Math.floor(limit / 2), limit - well.length);
  const failing = shared(await candidates(db, words, question, true, failingMax), failingMax);
  const chosen = [...shared(well, limit - failing.length), ...failing];
  return chosen.sort(byAge).map(({ mailbox }) => mailbox);
}

/** Those that failed, or those that did not: the `limit` longest overdue of all, and of the servers that have no crowd of them. */
async function candidates(
  db: Connected,
  words: DialectWords,
  question: DueQuestion,
  isFailing: boolean,
  limit: number,
): Promise<readonly Candidate[]> {
  const found = new Map<string, Candidate>();
  let leftOut = question.closed.slice(0, namedMax);
  for (let look = 0; look < looksMax && limit > 0; look += 1) {
    const some = await longestDue(db, words, { ...question, closed: leftOut }, isFailing, limit);
    for (const candidate of some) found.set(candidate.mailbox.id, candidate);
    const crowds = some.length < limit ? [] : crowdsOf(some, limit);
    if (crowds.length === 0) break;
    leftOut = [...leftOut, ...crowds];
  }
  return [...found.values()];
}

/** A row that is no mailbox is passed over, however many of them are overdue for longest. */
async function longestDue(
  db: Connected,
  words: DialectWords,
  question: DueQuestion,
  isFailing: boolean,
  limit: number,
): Promise<readonly Candidate[]> {
  const found = new Map<string, Candidate>();
  for (let offset = 0; found.size < limit; offset += limit) {
    const rows = await duePage(db, words, question, isFailing).limit(limit).offset(offset).execute();
    for (const row of rows) {
      const mailbox = validMailbox(row);
      if (mailbox !== null) found.set(mailbox.id, { mailbox: { ...mailbox, due: dueOf(row) }, at: row.next_poll_at });
    }
    if (rows.length < limit) break;
  }
  return [...found.values()].slice(0, limit);
}

function duePage(db: Connected, words: DialectWords, question: DueQuestion, isFailing: boolean) {
  const { keyIds, loginRefusalsMax, closed } = question;
  const due = scheduled(db, words)
    .select(mailboxColumns)
    .where('mailboxes.state', '=', 'active')
    .where((where) => where.or([where('lease_owner', 'is', null), isRunOut(where, words)]))
    .where((where) => where.not(isWaiting(where as unknown as MailboxWhere, keyIds)))
    .where((where) => where.and(closed.map((server) => where.not(isAt(server, words)))))
    .orderBy('mailbox_state.next_poll_at')
    .orderBy('mailbox_state.mailbox_id');
  if (!isFailing) return due.where('failures', '=', 0).where('mailbox_state.next_poll_at', '<=', words.now);
  return due
    .where('failures', '<>', 0)
    .where((where) =>
      where.or([
        where('mailbox_state.next_poll_at', '<=', words.now),
        where.and([
          where('login_refusals', '>=', loginRefusalsMax),
          where('refused_version', '<>', where.ref('mailboxes.changed_at')),
        ]),
      ]),
    );
}

/** By the very bytes of the name: another name may be another server, also where the table takes the two for the same. */
function isAt({ host, port }: Server, words: DialectWords) {
  const name = words.kind === 'mysql' ? sql`cast(mailboxes.host as binary)` : sql`mailboxes.host`;
  return sql<SqlBool>`(${name} = ${host} and mailboxes.port = ${port})`;
}

/** Servers that have more than their part of a list of `limit`. */
function crowdsOf(candidates: readonly Candidate[], limit: number): readonly Server[] {
  const crowds = Map.groupBy(candidates, serverOf)
    .values()
    .filter((crowd) => crowd.length > limit / crowdPart);
  return crowds.flatMap(([first]) => (first === undefined ? [] : [first.mailbox.connection])).toArray();
}

/** At most `limit` of them, by age; where there are more, each server gets its part first, and what is left goes by age alone. */
function shared(candidates: readonly Candidate[], limit: number): readonly Candidate[] {
  const counts = new Map<string, number>();
  const [parts, rest]: [Candidate[], Candidate[]] = [[], []];
  for (const candidate of candidates.toSorted(byAge)) {
    const count = (counts.get(serverOf(candidate)) ?? 0) + 1;
    counts.set(serverOf(candidate), count);
    (count <= Math.max(1, limit / crowdPart) ? parts : rest).push(candidate);
  }
  return [...parts, ...rest].slice(0, limit);
}

function serverOf({ mailbox: { connection } }: Candidate): string {
  return `${connection.host}:${connection.port}`;
}

function byAge(a: Candidate, b: Candidate): number {
  return compared(a.at, b.at) || compared(a.mailbox.id, b.mailbox.id);
}

function compared(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
