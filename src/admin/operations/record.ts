/**
 * Progress record of an operation, stored as JSON in its row: completed steps, workers waited for, error, unopened
 * passwords.
 *
 * The row holds data; sentences are rendered on reading (`views/encryption.ts`). Anyone with write access to the
 * database can forge it: `parseRecord` bounds every list and text, and replaces a step of any other form by null.
 * Nothing is decided by it.
 */
import type { UnopenedSecret } from '../../encryption/operations/operation.ts';
import { isCount, type OperationStep, parseStep } from '../../encryption/operations/steps.ts';
import type { Failure } from '../../errors.ts';

export type OperationRecord = {
  /** null: an unknown step. */
  readonly steps: readonly (OperationStep | null)[];
  /** Live workers that lack the key. */
  readonly waiting: readonly { readonly host: string; readonly pid: number }[];
  readonly error: { readonly code: string; readonly count: number | null } | null;
  readonly unopened: readonly UnopenedRecord[];
  /** Path of the key file after disabling. */
  readonly setAside: string | null;
};

/** Names a mailbox, or a grant. */
type UnopenedRecord = Omit<UnopenedSecret, 'message'>;

export const emptyRecord: OperationRecord = { steps: [], waiting: [], error: null, unopened: [], setAside: null };

const textMax = 4000;
const listMax = 100;
/** In UTF-8; the database store does not read longer ones. */
export const recordBytesMax = 65_536;

/** At most `recordBytesMax` long: keeps the last steps, and the first entries of the other lists. */
export function serializeRecord(record: OperationRecord): string {
  for (let max = listMax; ; max = Math.floor(max / 2)) {
    const text = JSON.stringify(shortened(record, max));
    if (max === 0 || new TextEncoder().encode(text).length <= recordBytesMax) return text;
  }
}

function shortened({ steps, waiting, unopened, ...rest }: OperationRecord, max: number): OperationRecord {
  return {
    ...rest,
    steps: max === 0 ? [] : steps.slice(-max),
    waiting: waiting.slice(0, max).map(({ host, pid }) => ({ host, pid })),
    unopened: unopened.slice(0, max).map(({ mailbox, grant, code }) => ({
      ...(mailbox === undefined ? { grant: grant?.slice(0, textMax) } : { mailbox: mailbox.slice(0, textMax) }),
      code,
    })),
  };
}

export function errorRecord({ code, fields }: Failure): NonNullable<OperationRecord['error']> {
  const { count } = fields;
  return { code, count: isCount(count) ? count : null };
}

/** The valid parts of a stored record; empty for a text that is no JSON object. */
export function parseRecord(text: string): OperationRecord {
  const value = text.length > recordBytesMax ? null : parseJson(text);
  if (!isObject(value)) return emptyRecord;
  const { error, setAside } = value;
  return {
    steps: listIn(value['steps']).map(parseStep),
    waiting: listIn(value['waiting']).flatMap((one) => (isWorker(one) ? [{ host: one.host, pid: one.pid }] : [])),
    error: isError(error) ? { code: error.code, count: isCount(error.count) ? error.count : null } : null,
    unopened: listIn(value['unopened']).flatMap(unopenedIn),
    setAside: isText(setAside) ? setAside : null,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= textMax;
}

function listIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) && value.length <= listMax ? value : [];
}

function isWorker(value: unknown): value is OperationRecord['waiting'][number] {
  return isObject(value) && isText(value['host']) && /^[\w.-]{1,64}$/.test(value['host']) && isCount(value['pid']);
}

function isError(value: unknown): value is { readonly code: string; readonly count: unknown } {
  return isObject(value) && isText(value['code']);
}

function unopenedIn(value: unknown): readonly UnopenedRecord[] {
  if (!isObject(value)) return [];
  const { mailbox, grant, code } = value;
  if (!isText(code)) return [];
  if (isText(mailbox)) return [{ mailbox, code }];
  return isText(grant) ? [{ grant, code }] : [];
}
