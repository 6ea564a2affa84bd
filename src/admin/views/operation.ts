/**
 * Rendering of a stored operation for the page: data of the row in, sentences of this program out.
 *
 * Anyone with write access to the database can forge the row. Of its texts only the actor and mailbox names reach the
 * page, as names; a step that is not known is shown as "unknown step". Advice follows from the code of a failure and
 * the kind.
 */
import { commandLine } from '../../encryption/help.ts';
import { describeStep } from '../../encryption/operations/steps.ts';
import { hintOf } from '../../errors.ts';
import { actorIn } from '../operations/operations.ts';
import { type OperationRecord, parseRecord } from '../operations/record.ts';
import type { StoredOperation } from '../ports.ts';
import type { OperationKind, OperationView } from '../service.ts';

/** Properties of the daemon that renders it. */
type Renderer = { readonly keyFilePath: string; readonly configFile: string | null };

export function operationView(row: StoredOperation, { keyFilePath, configFile }: Renderer): OperationView {
  const { kind, startedAtMs, endedAtMs, state } = row;
  const record = parseRecord(row.detail);
  const { steps, waiting, unopened, setAside } = record;
  const lacking = waiting.map(({ host, pid }) => `${host} (pid ${pid})`).join(', ');
  const waits = state === 'running' && lacking !== '' ? [`Waiting for workers that lack the key: ${lacking}.`] : [];
  const isCutShort = state === 'done' && steps.some((step) => step?.step === 'ended_early');
  return {
    ...{ kind, by: actorIn(row), startedAtMs, endedAtMs, state },
    steps: [...steps.map((step) => (step === null ? 'unknown step' : describeStep(step))), ...waits],
    error: errorView(record, kind, lacking),
    unopened: unopened.map(({ mailbox, code }) => ({ mailbox, ...unopenedReason(code) })),
    setAside: setAside !== null && isSetAsidePath(setAside, keyFilePath) ? setAside : null,
    followUp: isCutShort ? followUp(kind, configFile) : null,
  };
}

/** null: no error, or a code that does not exist. */
function errorView({ error }: OperationRecord, kind: OperationKind, lacking: string): OperationView['error'] {
  const hint = error && (pageHints.get(error.code) ?? hintOf(error.code));
  if (error === null || hint === null) return null;
  return { code: error.code, message: errorMessage(error, kind, lacking), hint };
}

function errorMessage(
  { code, count }: NonNullable<OperationRecord['error']>,
  kind: OperationKind,
  lacking: string,
): string {
  if (code === 'workers_lack_key' && lacking !== '') return `live workers do not hold the key: ${lacking}`;
  if (code === 'password_damaged' && kind === 'disable' && count !== null)
    return `the switch stays at disabling: ${count} of the passwords cannot be opened`;
  if (code === 'refused' && count !== null) return `the key file holds ${count} keys and has no room for one more`;
  return errorMessages.get(code) ?? 'the log of the daemon has the details';
}

const errorMessages: ReadonlyMap<string, string> = new Map([
  ['interrupted', 'the daemon that ran it stopped, and the switch shows nothing to resume'],
  ['operation_running', 'another operation on the switch is running'],
  ['password_damaged', 'the switch stays at enabling: some passwords cannot be sealed'],
  ['refused', 'the state of the switch does not allow it'],
  ['key_file_missing', 'there is no key file'],
  ['key_unknown', 'the key file does not hold a key that is needed'],
]);

/** Where the page has other advice than the commands have. */
const pageHints: ReadonlyMap<string, string> = new Map([
  ['interrupted', 'If it is still wanted, press the button again.'],
  ['password_damaged', 'Set each of these again: ticketmaild mailbox set-password NAME. Then continue.'],
]);

const unopenedReasons: ReadonlyMap<string, string> = new Map([
  ['password_damaged', 'it is not what was stored, or cannot be sealed'],
  ['password_binding_mismatch', 'it was sealed for another mailbox, server or user'],
  ['key_unknown', 'the key that it needs is not open here'],
]);

function unopenedReason(code: string): { readonly code: string; readonly message: string } {
  const message = unopenedReasons.get(code);
  return message === undefined ? { code: 'password_damaged', message: 'it could not be opened' } : { code, message };
}

const followUps: Readonly<Record<OperationKind, readonly [what: string, words: string]>> = {
  enable: [
    'The table of mailboxes may not have been rewritten: its file may still contain plain-text passwords. This rewrites it:',
    'encryption enable',
  ],
  rotate: [
    'The former key may still be in the key file. This removes it, unless a password needs it:',
    'encryption reseal',
  ],
  disable: ['The key file may still be in its place. This sets it aside:', 'encryption disable'],
};

function followUp(kind: OperationKind, configFile: string | null): OperationView['followUp'] {
  const [what, words] = followUps[kind];
  return { what, command: commandLine(words, configFile) };
}

/** True for a name that the key file of this daemon is renamed to when encryption is disabled. */
function isSetAsidePath(path: string, keyFilePath: string): boolean {
  return path.startsWith(keyFilePath) && /^\.disabled-\d{8}T\d{6}Z-[0-9a-f]{8}$/.test(path.slice(keyFilePath.length));
}
