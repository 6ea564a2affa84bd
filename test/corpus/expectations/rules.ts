/**
 * Meaning of each stated field for a stored message: one row a field, its comparison, and what it lets pass and why.
 *
 * A field that is not in `rules` must be in `leftOut` with its reason, else the run fails: nothing is dropped unseen. A
 * rule gives no check where the statement says nothing about us (an attachment without a name has no name to compare).
 */
import libmime from 'libmime';
import { attachmentRules } from './attachment-rules.ts';
import {
  collapsed,
  firstLine,
  sameAddress,
  sameAddresses,
  sameField,
  sameMarkdown,
  sameText,
  shownText,
  squeezed,
  titleText,
} from './loose.ts';
import type { CorpusMail, Stated } from './stated.ts';
import type { Placed, Stored } from './stored.ts';

export type Check = {
  readonly field: string;
  readonly met: boolean;
  readonly expected: unknown;
  readonly got: unknown;
};

/** What a rule looks at besides the value. `placed` null: only parsed, so that nothing is known of tickets. */
export type Subject = {
  readonly source: string;
  readonly file: string;
  readonly stated: Stated;
  readonly stored: Stored;
  readonly placed: Placed | null;
  /**
   * Ticket of another message of the same source, by the name of its file without ending, for the message in file
   * `own`.
   */
  readonly ticketOf: (name: string, own: string) => string | null;
};

export type Rule = (value: never, subject: Subject) => readonly Check[];

const one = (field: string, met: boolean, expected: unknown, got: unknown): readonly Check[] => [
  { field, met, expected, got },
];

/** Kinds that no person wrote. */
const machineKinds = ['auto_reply', 'bounce', 'feedback_report', 'read_receipt'];

/** By its kind, or because it says so itself (RFC 3834 section 5). */
function isOfMachine({ kind, auto_submitted }: Stored): boolean {
  return machineKinds.includes(kind) || /^auto-/iu.test(auto_submitted ?? '');
}

const headerRules: Readonly<Record<string, Rule>> = {
  subject: (value: string | null, { stored }) =>
    one('subject', sameText(value ?? '', stored.subject), value, stored.subject),
  // As sent, with encoded words; ours is decoded, and so is theirs before it is compared.
  raw_subject: (value: string, { stored }) =>
    one('raw_subject', sameText(libmime.decodeWords(value), stored.subject), value, stored.subject),
  no_subject: (value: boolean, { stored }) =>
    one('no_subject', (stored.subject === '') === value, value, stored.subject),
  from_addr: (value: string | null, { stored }) =>
    one('from_addr', sameAddress(value ?? '', stored.from?.address ?? ''), value, stored.from),
  from_name: (value: string | null, { stored }) =>
    one('from_name', sameText(value ?? '', stored.from?.name ?? ''), value, stored.from),
  from_header: (value: string, { stored }) =>
    one('from_header', sameField(value, stored.from === null ? [] : [stored.from]), value, stored.from),
  no_from: (value: boolean, { stored }) => one('no_from', (stored.from === null) === value, value, stored.from),
  // An entry without an address is null in one suite and not listed in the others.
  to_addrs: (value: readonly (string | null)[], { stored }) => addresses('to_addrs', value, stored.to),
  to_header: (value: string, { stored }) => one('to_header', sameField(value, stored.to), value, stored.to),
  to_name: (value: string, { stored }) =>
    one('to_name', sameText(value, stored.to[0]?.name ?? ''), value, stored.to[0] ?? null),
  cc_addrs: (value: readonly (string | null)[], { stored }) => addresses('cc_addrs', value, stored.cc),
  cc_header: (value: string, { stored }) => one('cc_header', sameField(value, stored.cc), value, stored.cc),
  reply_to: (value: string, { stored }) => one('reply_to', sameField(value, stored.reply_to), value, stored.reply_to),
  message_id: (value: string, { stored }) =>
    one('message_id', sameText(value, stored.message_id), value, stored.message_id),
  no_message_id: (value: boolean, { stored }) =>
    one('no_message_id', stored.message_id.endsWith('@missing.invalid') === value, value, stored.message_id),
  date_utc: (value: string, { stored }) =>
    one('date_utc', Date.parse(`${value}Z`) === Date.parse(stored.sent_at ?? ''), value, stored.sent_at),
  no_date: (value: boolean, { stored }) => one('no_date', (stored.sent_at === null) === value, value, stored.sent_at),
};

function addresses(field: string, value: readonly (string | null)[], people: Stored['to']): readonly Check[] {
  const wanted = value.filter((address) => address !== null);
  const got = people.map(({ address }) => address).filter((address) => address !== '');
  return one(field, sameAddresses(wanted, got), value, got);
}

const bodyRules: Readonly<Record<string, Rule>> = {
  text_first_line: (value: string, { stated, stored }) => {
    const met =
      sameText(value, firstLine(stored.text)) || (isOfHtml(value, stated) && startsHtml(value, stored.html ?? ''));
    return one('text_first_line', met, value, firstLine(stored.text));
  },
  text_equals: (value: string, { stored }) => one('text_equals', sameText(value, stored.text), value, stored.text),
  text_equals_md: (value: string, { stored }) =>
    one('text_equals_md', sameMarkdown(value, stored.text), value, stored.text),
  text_contains: (value: readonly string[], { stored }) =>
    one('text_contains', containsAll(stored.text, value), value, stored.text),
  reply_text: (value: string, { stored }) =>
    one('reply_text', sameMarkdown(value, stored.reply_text), value, stored.reply_text),
  html_contains: (value: readonly string[], { stored }) =>
    one('html_contains', containsAll(stored.html ?? '', value), value, stored.html),
  html_equals: (value: string, { stored }) =>
    one('html_equals', sameText(value, stored.html ?? ''), value, stored.html),
  has_html: (value: boolean, { stored }) => one('has_html', (stored.html !== null) === value, value, stored.html),
  // That suite shows the HTML wherever there is some.
  body_content_type: (value: string, { stored }) =>
    one('body_content_type', (stored.html !== null) === (value === 'text/html'), value, stored.html),
  no_visible_text: (value: boolean, { stored }) =>
    one('no_visible_text', (squeezed(stored.text) === '') === value, value, stored.text),
};

/** One suite takes its text from the HTML, and cleans it first; some of its lines still have tags. */
function isOfHtml(line: string, stated: Stated): boolean {
  return line.includes('</') || (typeof stated['text_source'] === 'string' && stated['text_source'].startsWith('html'));
}

/**
 * That suite's cleaning drops and joins: its line is the beginning of what the HTML shows, or its title, blanks aside.
 */
function startsHtml(line: string, html: string): boolean {
  const wanted = squeezed(shownText(line));
  return squeezed(shownText(html)).startsWith(wanted) || (wanted !== '' && squeezed(titleText(html)) === wanted);
}

function containsAll(text: string, wanted: readonly string[]): boolean {
  return wanted.every((piece) => collapsed(text).includes(collapsed(piece)));
}

type StatedBounce = { readonly status?: string; readonly hard?: boolean };

/**
 * `5.0.9xx` and `4.0.9xx` are codes that one suite makes up from its own reasons: of these, only the class is compared.
 */
const madeUpStatus = /^[245]\.0\.9\d\d$/u;

const kindRules: Readonly<Record<string, Rule>> = {
  is_bounce: (value: boolean, { stored }) => one('is_bounce', (stored.kind === 'bounce') === value, value, stored.kind),
  is_feedback_report: (value: boolean, { stored }) =>
    one('is_feedback_report', (stored.kind === 'feedback_report') === value, value, stored.kind),
  // A kind is one of several for us: a delivery report is an automatic answer too (RFC 3834 section 1).
  is_auto_reply: (value: boolean, { stored }) =>
    one('is_auto_reply', ['auto_reply', 'bounce'].includes(stored.kind) === value, value, stored.kind),
  is_auto_generated: (value: boolean, { stored }) =>
    one('is_auto_generated', isOfMachine(stored) === value, value, [stored.kind, stored.auto_submitted]),
  is_list: (value: boolean, { stored }) => one('is_list', (stored.kind === 'list') === value, value, stored.kind),
  bounce: (value: readonly StatedBounce[], { stored }) =>
    value.flatMap((stated, index) => bounceChecks(stated, stored.bounce?.details[index] ?? stored.bounce)),
  bounced_recipients: (value: readonly string[], { stored }) => {
    const got = stored.bounce?.recipients ?? [];
    return one('bounced_recipients', sameAddresses(value, got), value, got);
  },
  temporary: (value: boolean, { stored }) =>
    one('temporary', isTemporary(stored.bounce) === value, value, stored.bounce),
  is_delayed: (value: boolean, { stored }) =>
    one('is_delayed', isTemporary(stored.bounce) === value, value, stored.bounce),
};

type ToldBounce = { readonly status: string | null; readonly hard: boolean } | null;

/** What is no bounce says neither. */
function bounceChecks(stated: StatedBounce, told: ToldBounce): readonly Check[] {
  const checks: Check[] = [];
  const { status, hard } = stated;
  if (status !== undefined) {
    const got = told?.status ?? '';
    const met = madeUpStatus.test(status) ? got.charAt(0) === status.charAt(0) : got === status;
    checks.push({ field: 'bounce status', met, expected: status, got });
  }
  if (hard !== undefined)
    checks.push({ field: 'bounce hard', met: (told?.hard ?? false) === hard, expected: hard, got: told });
  return checks;
}

/**
 * The server still tries, or gave up for a reason that passes; what was no failure for good, where it tells no status.
 */
function isTemporary(bounce: Stored['bounce']): boolean {
  if (bounce === null) return false;
  const states = bounce.details.length === 0 ? [bounce] : bounce.details;
  return states.every(({ status, hard }) => (status === null ? !hard : status.startsWith('4')));
}

const threadRules: Readonly<Record<string, Rule>> = {
  threads_with: (value: string, { file, placed, ticketOf }) => {
    if (placed === null) return [];
    const ticket = ticketOf(value, file);
    return one('threads_with', ticket !== null && ticket === placed.ticket, value, placed);
  },
  starts_thread: (value: boolean, { placed }) =>
    placed === null ? [] : one('starts_thread', (placed.outcome === 'ticket_opened') === value, value, placed),
  process_success: (value: boolean, { placed }) =>
    placed === null ? [] : one('process_success', (placed.outcome !== 'quarantined') === value, value, placed),
  // Whom an answer goes to.
  reply_sender: (value: string, { stored }) => {
    const got = [...stored.reply_to, ...(stored.from === null ? [] : [stored.from])].map(({ address }) => address);
    return one('reply_sender', sameAddress(value, got[0] ?? ''), value, got);
  },
};

const rules: Readonly<Record<string, Rule>> = {
  ...headerRules,
  ...bodyRules,
  ...attachmentRules,
  ...kindRules,
  ...threadRules,
};

/** Stated, and not compared: why. */
export const leftOut: Readonly<Record<string, string>> = {
  structure: 'the tree of parts is not stored: texts that belong together are one text',
  leaf_count: 'as structure',
  is_forward: 'a forwarded mail is a mail like others, its words are kept',
  forwarded_from: 'as is_forward',
  original_sender: 'as is_forward',
  to_contains: 'as is_forward: addresses of the forwarded mail',
  cc_original: 'as is_forward',
  all_participants: 'the persons of a whole conversation are not listed',
  is_spam_flagged: 'no opinion about spam is stored, only the fields of the filters',
  is_dmarc_fail: 'as is_spam_flagged',
  is_encoding_problem: 'what was mended on the way is not recorded',
  from_first: 'persons are not split into first and last names',
  from_last: 'as from_first',
  user_email: 'of the upstream database, not of the mail',
  html_reply_md: 'the answer is taken from the text alone',
};

/** Of entries in `bounce`, what is not ours: the SMTP code, and the words of each suite for a reason. */
const about = new Set(['source', 'file', 'derived_from', 'notes', 'quirk', 'upstream', 'text_source']);

/** Every check of one message. Throws for a stated field without a rule. */
export function checkMail(subject: Subject): readonly Check[] {
  return Object.entries(subject.stated).flatMap(([field, value]) => {
    if (about.has(field) || leftOut[field] !== undefined) return [];
    const rule = rules[field];
    if (rule === undefined) throw new Error(`${subject.file}: no rule compares ${field}, and nothing says why`);
    return rule(value as never, subject);
  });
}

export function subjectOf(mail: CorpusMail, stated: Stated, stored: Stored): Subject {
  return { source: mail.source, file: mail.file, stated, stored, placed: null, ticketOf: () => null };
}
