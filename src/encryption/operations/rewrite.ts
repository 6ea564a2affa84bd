/**
 * Changes all passwords of a choice, stretch by stretch, each stretch in a transaction that checks the switch.
 *
 * What cannot be opened (`password_damaged`, `password_binding_mismatch`, `key_unknown`) is left as it is and told at the
 * end; anything else is thrown. A stop ends it between two stretches. Nothing is kept of a stretch that is done, so that
 * memory stays flat. A pass that changed something is repeated: others write meanwhile.
 */
import { Failure, isFailure } from '../../errors.ts';
import type { Key, KeyId, KeySet } from '../../secret/key.ts';
import {
  keyIdOfSealed,
  originOfSealed,
  type PasswordOrigin,
  sealPassword,
  unsealPassword,
} from '../../secret/sealed-password.ts';
import { SecretBytes } from '../../secret/secret-bytes.ts';
import type { PasswordBatch, PasswordCounts, PasswordRewrite, PasswordRow, PasswordSelection } from '../ports.ts';
import type { Operation, UnopenedPassword } from './operation.ts';

/** By mailbox name, so that one that is met twice is told once. */
export type UnopenedByName = ReadonlyMap<string, UnopenedPassword>;

export type RewritePass = {
  readonly selection: PasswordSelection;
  /** The switch must stay at this revision. */
  readonly revision: number;
  /** Of the audit row of each changed password. */
  readonly action: 'password.sealed' | 'password.resealed' | 'password.unsealed';
  /** What `kept` holds is wiped when the stretch is written. */
  change(row: PasswordRow, kept: DisposableStack): Promise<PasswordRewrite>;
  /** Told after each stretch how many more were changed. */
  countChanged(changed: number): void;
};

/** Where a pass counts. */
export type CountChanged = RewritePass['countChanged'];

const batchRows = 200;
const unopenedMax = 1000;
/** Passes in a row that change nothing although some are left: they are none that this could ever reach. */
const fruitlessPassesMax = 5;

type PassResult = { readonly changed: number; readonly unopened: UnopenedByName };

/** One pass over all passwords of the choice; `total` is for the progress alone. Throws `switch_changed`. */
async function rewriteAll(operation: Operation, pass: RewritePass, total: number): Promise<PassResult> {
  const unopened = new Map<string, UnopenedPassword>();
  let [after, seen, changed]: [string | null, number, number] = [null, 0, 0];
  do {
    operation.throwIfStopped();
    const stretch = await rewriteBatch(operation, pass, after, unopened);
    pass.countChanged(stretch.changed);
    after = stretch.lastId;
    seen += stretch.seen;
    changed += stretch.changed;
    if (after !== null) operation.ports.observer.passwords(seen, Math.max(seen, total));
  } while (after !== null);
  return { changed, unopened };
}

/** The store may hand out a row a second time, after a deadlock: what is told is how it went in the end. */
async function rewriteBatch(
  { ports }: Operation,
  { selection: choice, revision, action, change }: RewritePass,
  after: string | null,
  unopened: Map<string, UnopenedPassword>,
) {
  using kept = new DisposableStack();
  const { who, host } = ports.actor;
  const stretch: PasswordBatch = {
    selection: choice,
    after,
    limit: batchRows,
    revision,
    audit: { who, host, action },
  };
  return await ports.store.rewritePasswords(stretch, async (row) => {
    try {
      const changed = await change(row, kept);
      unopened.delete(row.name);
      return changed;
    } catch (error) {
      if (!isFailure(error, 'password_damaged', 'password_binding_mismatch', 'key_unknown')) throw error;
      const { code, message } = error;
      if (unopened.size < unopenedMax) unopened.set(row.name, { mailbox: row.name, code, message });
      return null;
    }
  });
}

/** Passes until one changes nothing and no password is left that could be reached; those that could not be opened. */
async function rewriteUntilNoneLeft(
  operation: Operation,
  pass: RewritePass,
  left: (counts: PasswordCounts) => number,
): Promise<UnopenedByName> {
  const { store } = operation.ports;
  let total = left(await store.passwordCounts());
  for (let idle = 0; idle < fruitlessPassesMax; ) {
    const { changed, unopened } = await rewriteAll(operation, pass, total);
    total = left(await store.passwordCounts());
    if (changed === 0 && (total === 0 || unopened.size > 0)) return unopened;
    idle = changed === 0 ? idle + 1 : 0;
  }
  throw new Failure('unexpected', `${total} passwords are counted as left to do, and no pass over them meets one`);
}

/**
 * Seals all that is readable under `key`, for a switch that is not on yet: what stands there is what has been in use. What
 * cannot be sealed (empty, too long) is what it gives back.
 */
export async function sealAllPlaintext(
  operation: Operation,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  return await rewriteUntilNoneLeft(
    operation,
    sealingPass(key, revision, count, 'command'),
    ({ plaintext: plain }) => plain,
  );
}

/** As `sealPlain`, in one pass: for a switch that is on, where workers seal as well, and mark what they seal. */
export async function sealPlaintextOnce(
  operation: Operation,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  const { plaintext } = await operation.ports.store.passwordCounts();
  return (await rewriteAll(operation, sealingPass(key, revision, count, 'table'), plaintext)).unopened;
}

function sealingPass(key: Key, revision: number, count: CountChanged, origin: PasswordOrigin): RewritePass {
  return {
    selection: 'plain',
    revision,
    action: 'password.sealed',
    countChanged: count,
    change: async (row) => {
      using password = SecretBytes.take(row.bytes);
      return sealRow(password, key, row, origin);
    },
  };
}

function sealRow(password: SecretBytes, key: Key, row: PasswordRow, origin: PasswordOrigin): PasswordRewrite {
  return { form: 'sealed', sealed: sealPassword(password, key, row, origin), keyId: key.id };
}

async function resealRow(row: PasswordRow, keys: KeySet, key: Key): Promise<PasswordRewrite> {
  using password = unsealPassword(row.bytes, keys, row);
  return sealRow(password, key, row, originOfSealed(row.bytes));
}

/** Reseals under `key` all that, by its column, is under another or under none. */
export async function resealByColumn(
  operation: Operation,
  keys: KeySet,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  const choice = { notUnder: key.id };
  const pass: RewritePass = {
    selection: choice,
    revision,
    action: 'password.resealed',
    countChanged: count,
    change: (row) => resealRow(row, keys, key),
  };
  const { byKey } = await operation.ports.store.passwordCounts();
  const total = byKey.filter(({ keyId }) => keyId !== key.id).reduce((sum, { count: more }) => sum + more, 0);
  for (;;) {
    const { changed, unopened } = await rewriteAll(operation, pass, total);
    if (changed === 0) return unopened;
  }
}

export type HeaderPassResult = { readonly unopened: UnopenedByName; readonly neededIds: ReadonlySet<KeyId> };

/**
 * One pass over every sealed password itself, whose column anybody may have written, that reseals what is not under
 * `key`. Of those that are left: what is wrong with them, and the keys that they need.
 */
export async function resealByHeader(
  operation: Operation,
  keys: KeySet,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<HeaderPassResult> {
  const neededIds = new Set<KeyId>();
  const change = async (row: PasswordRow): Promise<PasswordRewrite> => {
    const keyId = keyIdOfSealed(row.bytes);
    if (keyId === key.id) return null;
    try {
      return await resealRow(row, keys, key);
    } catch (error) {
      neededIds.add(keyId);
      throw error;
    }
  };
  const { sealed: total } = await operation.ports.store.passwordCounts();
  const pass: RewritePass = { selection: 'sealed', revision, action: 'password.resealed', countChanged: count, change };
  const { unopened } = await rewriteAll(operation, pass, total);
  return { unopened, neededIds };
}

/** Makes all that is sealed readable again. */
export async function unsealAll(
  operation: Operation,
  keys: KeySet,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  const change = async (row: PasswordRow, kept: DisposableStack): Promise<PasswordRewrite> => {
    return { form: 'plain', password: kept.use(unsealPassword(row.bytes, keys, row)) };
  };
  const pass: RewritePass = { selection: 'sealed', revision, action: 'password.unsealed', countChanged: count, change };
  return await rewriteUntilNoneLeft(operation, pass, ({ sealed: left }) => left);
}
