/**
 * What is kept about an operation beside its row, as JSON: steps, who is waited for, how it ended.
 *
 * Anybody who can write the database can write it, so it is read field by field and bound in length: a detail that is not
 * ours counts as empty. Nothing is decided by it, and nothing of it is shown as words of ours that is not one of our
 * sentences (operation-words.ts): advice is made here, from the code of a failure and the kind of the operation.
 */

import { commandLine } from '../../encryption/help.ts';
import type { Unopened } from '../../encryption/operations/operation.ts';
import { type Failure, hintOf } from '../../errors.ts';
import { isAdminName, type StoredOperation } from '../ports.ts';
import type { OperationKind, OperationView } from '../service.ts';

export type Detail = {
  /** Sentences of operation-words.ts; of what is none of them nothing is shown. */
  readonly steps: readonly string[];
  /** Workers that lack the key, as `HOST (pid N)`. */
  readonly waiting: readonly string[];
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly unopened: readonly { readonly mailbox: string; readonly code: string }[];
  readonly setAside: string | null;
  /** The daemon that ran it ended behind its last change of the switch. */
  readonly isCutShort: boolean;
};

export const emptyDetail: Detail = {
  ...{ steps: [], waiting: [], error: null, unopened: [] },
  ...{ setAside: null, isCutShort: false },
};

const textMax = 4000;
const listMax = 100;
/** In UTF-8; longer ones are not read. */
export const detailBytesMax = 65_536;

/** At most `detailBytesMax` long: of lists that are too long the last steps, and the first of the others, are kept. */
export function detailText(detail: Detail): string {
  for (let max = listMax; ; max = Math.floor(max / 2)) {
    const text = JSON.stringify(shortened(detail, max));
    if (max === 0 || new TextEncoder().encode(text).length <= detailBytesMax) return text;
  }
}

function shortened({ steps, waiting, error, unopened, setAside, isCutShort }: Detail, max: number): Detail {
  return {
    // The last steps tell how it stands.
    steps: max === 0 ? [] : steps.slice(-max).map(cut),
    waiting: waiting.slice(0, max).map(cut),
    error: error && { code: error.code, message: cut(error.message) },
    unopened: unopened.slice(0, max).map(({ mailbox, code }) => ({ mailbox: cut(mailbox), code })),
    setAside,
    isCutShort,
  };
}

function cut(text: string): string {
  return text.length <= textMax ? text : `${text.slice(0, textMax - 1)}…`;
}

export function errorIn({ code, message }: Failure): NonNullable<Detail['error']> {
  return { code, message };
}

/** What of the daemon that shows it belongs to what is shown. */
type ViewPlace = { readonly keyFilePath: string; readonly configFile: string | null };

/** As the page shows it. */
export function operationView(row: StoredOperation, { keyFilePath, configFile }: ViewPlace): OperationView {
  const { kind, startedAtMs, endedAtMs, state } = row;
  const { steps, waiting, error, unopened, setAside, isCutShort } = parseDetail(row.detail);
  const words = ownWords(keyFilePath);
  const lacking = state === 'running' ? waiting.filter(isWorkerName) : [];
  const waits = lacking.length > 0 ? [`Waiting for workers that lack the key: ${lacking.join(', ')}.`] : [];
  return {
    ...{ kind, by: byWhom(row), startedAtMs, endedAtMs, state },
    steps: [...steps.map(words).filter((step) => step !== null), ...waits],
    error: error && errorView(error, words(error.message)),
    unopened: unopened.map(({ mailbox, code }) => ({ mailbox, ...whyUnopened(code) })),
    setAside: setAside !== null && isAside(setAside, keyFilePath) ? setAside : null,
    followUp: isCutShort && state === 'done' ? leftBehind(kind, configFile) : null,
  };
}

/** The name in the row, if it can be one. */
export function byWhom({ by }: Pick<StoredOperation, 'by'>): string {
  return isAdminName(by) ? by : 'somebody';
}

/** null: there is no such failure. */
function errorView({ code }: NonNullable<Detail['error']>, message: string | null): OperationView['error'] {
  const hint = pageHints.get(code) ?? hintOf(code);
  return hint === null ? null : { code, message: message ?? 'the log of the daemon says what it was', hint };
}

/** Where the page has other advice than the commands have. */
const pageHints: ReadonlyMap<string, string> = new Map([
  ['interrupted', 'If it is still wanted, press the button again.'],
  ['password_damaged', 'Set each of these anew: ticketmaild mailbox set-password NAME. Then go on.'],
]);

const unopenedReasons: ReadonlyMap<string, string> = new Map([
  ['password_damaged', 'it is not what was stored, or cannot be sealed'],
  ['password_binding_mismatch', 'it was sealed for another mailbox, server or user'],
  ['key_unknown', 'the key that it needs is not open here'],
]);

function whyUnopened(code: string): Pick<Unopened, 'code' | 'message'> {
  const message = unopenedReasons.get(code);
  return message === undefined ? { code: 'password_damaged', message: 'it could not be opened' } : { code, message };
}

const leftovers: Readonly<Record<OperationKind, readonly [what: string, words: string]>> = {
  enable: [
    'The table of mailboxes may not be written anew, so that its file may still hold what was readable. This does it:',
    'encryption enable',
  ],
  rotate: [
    'The former key may still be in the key file. This drops it, unless a password needs it:',
    'encryption reseal',
  ],
  disable: ['The key file may still be at its place. This sets it aside:', 'encryption disable'],
};

function leftBehind(kind: OperationKind, configFile: string | null): OperationView['followUp'] {
  const [what, words] = leftovers[kind];
  return { what, command: commandLine(words, configFile) };
}

/** Empty when it is not exactly ours. */
export function parseDetail(text: string): Detail {
  const value = text.length > detailBytesMax ? null : parseJson(text);
  return isDetail(value) ? value : emptyDetail;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string' && value.length <= textMax;
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.length <= listMax && value.every(check);

/** Exactly these fields. */
const shape =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) => {
    if (typeof value !== 'object' || value === null) return false;
    const entries = Object.entries(value);
    const isEach = entries.every(([name, field]) => Object.hasOwn(fields, name) && fields[name]?.(field) === true);
    return isEach && entries.length === Object.keys(fields).length;
  };

const checkDetail = shape({
  steps: listOf(isText),
  waiting: listOf(isText),
  error: orNull(shape({ code: isText, message: isText })),
  unopened: listOf(shape({ mailbox: isText, code: isText })),
  setAside: orNull(isText),
  isCutShort: (value) => typeof value === 'boolean',
} satisfies Record<keyof Detail, Check>);

function isDetail(value: unknown): value is Detail {
  return checkDetail(value);
}

/**
 * The sentences that may be shown of what is kept about an operation in the database.
 *
 * Whoever can write the database can write there what they like, and the page would show it as words of ours. So only a
 * sentence of this list is shown, with nothing in it but key ids, counts, names of workers, and the path of the key file of
 * this very daemon; every other one counts as not there.
 */

/** The sentence to show; null: it is none of ours. */
type OwnWords = (text: string) => string | null;

/** In the braces: what `values` has. */
const sentences: readonly string[] = [
  'A key file with the new key {key} is at {path}.',
  'Every live worker holds the key {key}; passwords are sealed with it from now on.',
  'Encryption is on: no password is readable in the table any more.',
  'The table of mailboxes is written anew, so that its file holds nothing of what was readable.',
  'The new key {key} is in the key file at {path}, beside the key in use.',
  'Resealing under the key {key}.',
  'The key {key} is in use; the former key {key} is dropped from the key file next.',
  'Dropped from the key file, as nothing needs it any more: {keys}.',
  'New passwords are stored readable from now on.',
  'Encryption is off.',
  'The key file is set aside, for backups of the database that still need it: {aside}.',
  '{count} sealed passwords are left, so the key file stays: switch on and off again to open them.',
  'Sealed: {count}.',
  'Resealed: {count}. The former key {key} is {still} in the key file.',
  'Made readable: {count}.',
  'Encryption was off already.',
  'The daemon that ran this ended; another one goes on with it.',
  'The daemon that ran this ended just before the end.',
  'Some passwords cannot be sealed, and are left as they are.',
  // Why one failed.
  '1 live worker does not hold the key {key}: {workers}',
  '{count} live workers do not hold the key {key}: {workers}',
  'another operation on the switch is under way in {worker}',
  'the claim on the switch was lost to another operation',
  'the daemon that ran it ended, and the switch is {state}: it is not gone on with by itself',
  'the operation was stopped on request before it was done',
  'the switch stays at enabling: some passwords cannot be sealed',
  'the switch stays at disabling: {count} of the passwords cannot be opened',
  '{doing} is not possible while the switch is {state}',
  'there is no key file',
  'there is no key file at {path}',
  'the key file does not hold key {key}',
  'the key file holds {count} keys, and there is no room for one more',
];

/** Sentences that end in what others wrote, and how they are shown without that. */
const openEnded: readonly (readonly [start: string, shown: string])[] = [
  ['Left as they are: ', 'Some passwords cannot be sealed, and are left as they are.'],
  [
    'the switch stays at enabling: some passwords cannot be sealed: ',
    'the switch stays at enabling: some passwords cannot be sealed',
  ],
];

const [key, worker] = ['[0-9a-f]{16}', String.raw`[\w.-]{1,64} \(pid \d{1,10}\)`];

const values: Readonly<Record<string, string>> = {
  key,
  keys: `${key}(?:, ${key}){0,7}`,
  count: String.raw`\d{1,12}`,
  still: 'still|no longer',
  state: 'off|enabling|on|rotating|disabling',
  doing: 'switching on|switching off|a rotation|resealing',
  // As `Workers.me`: host, boot, PID name space, PID, start.
  worker: String.raw`[\w.-]{1,64}(?:/[\w.-]{1,32}){4}`,
  workers: String.raw`${worker}(?:, ${worker}){0,19}(?:, and \d{1,6} more)?`,
};

/** `keyFilePath`: of this daemon. */
export function ownWords(keyFilePath: string): OwnWords {
  const path = RegExp.escape(keyFilePath);
  const all = { ...values, path, aside: `${path}${asideEnding}` };
  const ours = new RegExp(`^(?:${sentences.map((sentence) => pattern(sentence, all)).join('|')})$`);
  return (text) => {
    const [, shown] = openEnded.find(([start]) => text.startsWith(start)) ?? [];
    return shown ?? (ours.test(text) ? text : null);
  };
}

function pattern(sentence: string, all: Readonly<Record<string, string>>): string {
  const parts = sentence.split(/[{}]/);
  return parts.map((part, index) => (index % 2 === 0 ? RegExp.escape(part) : `(?:${all[part]})`)).join('');
}

/** Of a key file that was set aside when encryption was switched off. */
const asideEnding = String.raw`\.disabled-\d{8}T\d{6}Z(?:-\d{1,4})?`;

/** True for where the key file of this daemon may have been set aside. */
function isAside(path: string, keyFilePath: string): boolean {
  return path.startsWith(keyFilePath) && new RegExp(`^${asideEnding}$`).test(path.slice(keyFilePath.length));
}

/** `HOST (pid N)`. */
function isWorkerName(text: string): boolean {
  return new RegExp(`^${worker}$`).test(text);
}
