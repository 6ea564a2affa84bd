/**
 * Seal sweep: seals the plain-text passwords and refresh tokens that a helpdesk writes into the tables while the switch
 * is on. It confirms no settings: their writer also chose the server.
 *
 * Works in batches, each in a transaction that verifies the switch revision, so that nothing is sealed after the switch
 * went off. While the row is forged or rolled back, the last good switch applies. Passwords that can never be sealed
 * (empty, too long) are not selected; one that fails otherwise is skipped and logged, as is a token of a provider that
 * the configuration does not name.
 */
import { type Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { AuditActor } from '../ingest/model.ts';
import { type Key, keyById } from '../secret/key.ts';
import { sealPassword } from '../secret/sealed-password.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { initialSwitchRow, sealingKeyId } from '../secret/switch.ts';
import type {
  EncryptionStore,
  PasswordBatch,
  PasswordBatchResult,
  PasswordRewrite,
  PasswordRow,
  TokenRewrite,
  TokenRewriteRow,
} from './ports.ts';
import { type BindingOf, sealTokenRow } from './token-rows.ts';
import { isEncryptionOn, type Vault } from './vault.ts';

type SealSweepPorts = {
  readonly store: Pick<EncryptionStore, 'rewritePasswords' | 'rewriteTokens'>;
  readonly bindingOf: BindingOf;
  readonly vault: Vault;
  readonly log: Log;
  readonly actor: AuditActor;
};

const batchRows = 200;

/** One sweep over the table; does nothing unless the switch is on. Logs a failure; the next sweep retries. */
export function createSealSweep(ports: SealSweepPorts): () => Promise<void> {
  let logged: string | null = null;
  return async () => {
    const { view } = ports.vault;
    const key = keyById(ports.vault.keys(), sealingKeyId(view.switch));
    // While enabling or disabling, the operation rewrites the passwords itself.
    if (key === null || view.problem?.code === 'key_unknown' || !isEncryptionOn(view)) return;
    try {
      report(await sweep(ports, key, view.stored?.revision ?? initialSwitchRow.revision), key, ports.log);
      logged = null;
    } catch (error) {
      if (!isFailure(error)) throw error;
      if (error.code !== logged && error.code !== 'switch_changed')
        ports.log.warn({ error }, events.passwordsSealFailed);
      logged = error.code;
    }
  };
}

/** Logs what was sealed. Throws the refusal where that was nothing. */
function report({ passwords, tokens, refusal }: Sweep, key: Key, log: Log): void {
  if (passwords > 0) log.info({ count: passwords, key_id: key.id }, events.passwordsSealed);
  if (tokens > 0) log.info({ count: tokens, key_id: key.id }, events.tokensSealed);
  if (refusal !== null && passwords + tokens === 0) throw refusal;
}

type Sweep = { passwords: number; tokens: number; refusal: Failure | null };

async function sweep({ store, actor, bindingOf }: SealSweepPorts, key: Key, revision: number): Promise<Sweep> {
  const done: Sweep = { passwords: 0, tokens: 0, refusal: null };
  const skipping = async <T>(seal: () => T): Promise<T | null> => {
    try {
      return seal();
    } catch (error) {
      if (!isFailure(error)) throw error;
      done.refusal ??= error;
      return null;
    }
  };
  const sealRow = (row: PasswordRow): Promise<PasswordRewrite> =>
    skipping(() => {
      using password = SecretBytes.take(row.bytes);
      return { form: 'sealed', sealed: sealPassword(password, key, row), keyId: key.id };
    });
  const sealToken = (row: TokenRewriteRow): Promise<TokenRewrite> => skipping(() => sealTokenRow(row, key, bindingOf));
  const batch = { selection: 'sealable', limit: batchRows, revision } as const;
  const audit = (action: string) => ({ ...actor, action });
  done.passwords = await eachBatch({ ...batch, audit: audit('password.sealed') }, (one) =>
    store.rewritePasswords(one, sealRow),
  );
  done.tokens = await eachBatch({ ...batch, audit: audit('token.sealed') }, (one) =>
    store.rewriteTokens({ ...one, kind: 'refresh' }, sealToken),
  );
  return done;
}

/** Returns the number of changed rows. */
async function eachBatch(
  batch: Omit<PasswordBatch, 'after'>,
  rewrite: (batch: PasswordBatch) => Promise<PasswordBatchResult>,
): Promise<number> {
  let total = 0;
  for (let after: string | null = null; ; ) {
    const { lastId, changed } = await rewrite({ ...batch, after });
    total += changed;
    if (lastId === null) return total;
    after = lastId;
  }
}
