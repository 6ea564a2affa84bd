/**
 * Batch rewrite of stored passwords (seal, reseal, unseal): each batch is one transaction that verifies the switch
 * revision. Its passes also rewrite tokens (rewrite-tokens.ts).
 *
 * Secrets that cannot be opened (`password_damaged`, `password_binding_mismatch`, `token_damaged`, `key_unknown` …)
 * stay as they are and are returned at the end; any other error is thrown. A stop takes effect between two batches.
 * Memory does not grow with the number of secrets. A pass that changed something is repeated, since others write
 * meanwhile.
 */
import { Failure, isFailure } from '../../errors.ts';
import type { Key, KeyId, KeySet } from '../../secret/key.ts';
import { keyIdOfSealed, sealPassword, unsealPassword } from '../../secret/sealed-password.ts';
import { SecretBytes } from '../../secret/secret-bytes.ts';
import type {
  EncryptionStore,
  PasswordBatch,
  PasswordBatchResult,
  PasswordRewrite,
  PasswordRow,
  PasswordSelection,
  SealCounts,
} from '../ports.ts';
import type { Operation, UnopenedSecret } from './operation.ts';

/** By mailbox or grant: a secret that is read twice counts once. */
export type UnopenedByName = ReadonlyMap<string, UnopenedSecret>;

/** The table of a rewrite: passwords, or tokens of one kind. */
export type RewriteTable<Row, Rewrite> = {
  rewrite(
    store: EncryptionStore,
    batch: PasswordBatch,
    change: (row: Row) => Promise<Rewrite | null>,
  ): Promise<PasswordBatchResult>;
  /** Names a row that cannot be opened. */
  ownerOf(row: Row): Pick<UnopenedSecret, 'mailbox' | 'grant'>;
  counts(store: EncryptionStore): Promise<SealCounts>;
};

export type RewritePass<Row, Rewrite> = {
  readonly table: RewriteTable<Row, Rewrite>;
  readonly selection: PasswordSelection;
  /** The switch must stay at this revision. */
  readonly revision: number;
  /** For the audit row of each changed secret. */
  readonly action: `${'password' | 'token'}.${'sealed' | 'resealed' | 'unsealed'}`;
  /** Secrets in `secrets` are wiped when the batch is written. */
  change(row: Row, secrets: DisposableStack): Promise<Rewrite | null>;
  /** Called after each batch with the number of changed secrets. */
  countChanged(changed: number): void;
};

export type CountChanged = (changed: number) => void;

const batchRows = 200;
const unopenedMax = 1000;
/** Consecutive passes without any change although secrets are left: none of them can be reached. */
const fruitlessPassesMax = 5;

const passwords: RewriteTable<PasswordRow, PasswordRewrite> = {
  rewrite: (store, batch, change) => store.rewritePasswords(batch, change),
  ownerOf: ({ name: mailbox }) => ({ mailbox }),
  counts: (store) => store.passwordCounts(),
};

type PassResult = { readonly changed: number; readonly unopened: UnopenedByName };

/** One pass over the selection; `total` is only for the progress. Throws `switch_changed`. */
export async function rewriteAll<Row, Rewrite>(
  operation: Operation,
  pass: RewritePass<Row, Rewrite>,
  total: number,
): Promise<PassResult> {
  const unopened = new Map<string, UnopenedSecret>();
  let [after, seen, changed]: [string | null, number, number] = [null, 0, 0];
  do {
    operation.throwIfStopped();
    const result: PasswordBatchResult = await rewriteBatch(operation, pass, after, unopened);
    pass.countChanged(result.changed);
    after = result.lastId;
    seen += result.seen;
    changed += result.changed;
    if (after !== null) operation.ports.observer.passwords(seen, Math.max(seen, total));
  } while (after !== null);
  return { changed, unopened };
}

const unopenedCodes = ['password_damaged', 'password_binding_mismatch', 'key_unknown'] as const;
const unopenedTokenCodes = ['token_damaged', 'token_bound_elsewhere', 'oauth_provider_unknown'] as const;

/** After a deadlock the store repeats the batch: only the last outcome of a row counts. */
async function rewriteBatch<Row, Rewrite>(
  { ports }: Operation,
  { table, selection, revision, action, change }: RewritePass<Row, Rewrite>,
  after: string | null,
  unopened: Map<string, UnopenedSecret>,
): Promise<PasswordBatchResult> {
  using secrets = new DisposableStack();
  const { who, host } = ports.actor;
  const batch: PasswordBatch = { selection, after, limit: batchRows, revision, audit: { who, host, action } };
  return await table.rewrite(ports.store, batch, async (row) => {
    const owner = table.ownerOf(row);
    const key = JSON.stringify(owner);
    try {
      const changed = await change(row, secrets);
      unopened.delete(key);
      return changed;
    } catch (error) {
      if (!isFailure(error, ...unopenedCodes, ...unopenedTokenCodes)) throw error;
      const { code, message } = error;
      if (unopened.size < unopenedMax) unopened.set(key, { ...owner, code, message });
      return null;
    }
  });
}

/** Repeats passes until no reachable secret is left; returns those that could not be opened. */
export async function rewriteUntilNoneLeft<Row, Rewrite>(
  operation: Operation,
  pass: RewritePass<Row, Rewrite>,
  left: (counts: SealCounts) => number,
): Promise<UnopenedByName> {
  const { store } = operation.ports;
  let total = left(await pass.table.counts(store));
  for (let idle = 0; idle < fruitlessPassesMax; ) {
    const { changed, unopened } = await rewriteAll(operation, pass, total);
    total = left(await pass.table.counts(store));
    if (changed === 0 && (total === 0 || unopened.size > 0)) return unopened;
    idle = changed === 0 ? idle + 1 : 0;
  }
  throw new Failure('unexpected', `${total} secrets are left, and no pass over them selects one`);
}

/**
 * Seals all plain-text passwords under `key`, for a switch that is not on yet: they are the ones in use. Returns those
 * that cannot be sealed (empty, too long).
 */
export async function sealAllPlaintext(
  operation: Operation,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  return await rewriteUntilNoneLeft(operation, sealingPass(key, revision, count), ({ plaintext: plain }) => plain);
}

/** As `sealAllPlaintext`, in one pass: for a switch that is on, where workers seal as well. */
export async function sealPlaintextOnce(
  operation: Operation,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  const { plaintext } = await operation.ports.store.passwordCounts();
  return (await rewriteAll(operation, sealingPass(key, revision, count), plaintext)).unopened;
}

function sealingPass(key: Key, revision: number, count: CountChanged): RewritePass<PasswordRow, PasswordRewrite> {
  return {
    table: passwords,
    selection: 'plain',
    revision,
    action: 'password.sealed',
    countChanged: count,
    change: async (row) => {
      using password = SecretBytes.take(row.bytes);
      return sealRow(password, key, row);
    },
  };
}

function sealRow(password: SecretBytes, key: Key, row: PasswordRow): PasswordRewrite {
  return { form: 'sealed', sealed: sealPassword(password, key, row), keyId: key.id };
}

async function resealRow(row: PasswordRow, keys: KeySet, key: Key): Promise<PasswordRewrite> {
  using password = unsealPassword(row.bytes, keys, row);
  return sealRow(password, key, row);
}

/** Reseals under `key` all passwords that, by their column, are under another key or none. */
export async function resealByColumn(
  operation: Operation,
  keys: KeySet,
  key: Key,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  return await rewriteUntilUnchanged(operation, {
    table: passwords,
    selection: { notUnder: key.id },
    revision,
    action: 'password.resealed',
    countChanged: count,
    change: (row) => resealRow(row, keys, key),
  });
}

/** Repeats passes until one changes nothing. */
export async function rewriteUntilUnchanged<Row, Rewrite>(
  operation: Operation,
  pass: RewritePass<Row, Rewrite>,
): Promise<UnopenedByName> {
  const { sealed: total } = await pass.table.counts(operation.ports.store);
  for (;;) {
    const { changed, unopened } = await rewriteAll(operation, pass, total);
    if (changed === 0) return unopened;
  }
}

export type HeaderPassResult = { readonly unopened: UnopenedByName; readonly neededIds: ReadonlySet<KeyId> };

/**
 * Reseals by the header of each sealed password, since its column may be wrong: one pass over all that are not under
 * `key`. Returns those that cannot be opened, and the keys that they need.
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
  const pass = { ...sealedPass(revision, count), action: 'password.resealed', change } as const;
  const { unopened } = await rewriteAll(operation, pass, total);
  return { unopened, neededIds };
}

/** Restores all sealed passwords to plain text. */
export async function unsealAll(
  operation: Operation,
  keys: KeySet,
  revision: number,
  count: CountChanged,
): Promise<UnopenedByName> {
  const change = async (row: PasswordRow, secrets: DisposableStack): Promise<PasswordRewrite> => {
    return { form: 'plain', password: secrets.use(unsealPassword(row.bytes, keys, row)) };
  };
  const pass = { ...sealedPass(revision, count), action: 'password.unsealed', change } as const;
  return await rewriteUntilNoneLeft(operation, pass, ({ sealed: left }) => left);
}

function sealedPass(revision: number, countChanged: CountChanged) {
  return { table: passwords, selection: 'sealed', revision, countChanged } as const;
}
