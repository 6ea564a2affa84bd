/**
 * Seal sweep: seals the plain-text passwords that a helpdesk writes into the table while the switch is on. It confirms
 * no settings: their writer also chose the server.
 *
 * Works in batches, each in a transaction that verifies the switch revision, so that nothing is sealed after the switch
 * went off. While the row is forged or rolled back, the last good switch applies. Passwords that can never be sealed
 * (empty, too long) are not selected; one that fails otherwise is skipped and logged.
 */
import { type Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { AuditActor } from '../ingest/model.ts';
import { type Key, keyById } from '../secret/key.ts';
import { sealPassword } from '../secret/sealed-password.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { initialSwitchRow, sealingKeyId } from '../secret/switch.ts';
import type { EncryptionStore, PasswordBatch, PasswordRewrite, PasswordRow } from './ports.ts';
import { isEncryptionOn, type Vault } from './vault.ts';

type SealSweepPorts = {
  readonly store: Pick<EncryptionStore, 'rewritePasswords'>;
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
      const sealed = await sweep(ports, key, view.stored?.revision ?? initialSwitchRow.revision);
      if (sealed > 0) ports.log.info({ count: sealed, key_id: key.id }, events.passwordsSealed);
      logged = null;
    } catch (error) {
      if (!isFailure(error)) throw error;
      if (error.code !== logged && error.code !== 'switch_changed')
        ports.log.warn({ error }, events.passwordsSealFailed);
      logged = error.code;
    }
  };
}

async function sweep(ports: SealSweepPorts, key: Key, revision: number): Promise<number> {
  const audit = { ...ports.actor, action: 'password.sealed' };
  let sealed = 0;
  let refusal: Failure | null = null;
  const change = async (row: PasswordRow): Promise<PasswordRewrite> => {
    try {
      using password = SecretBytes.take(row.bytes);
      return { form: 'sealed', sealed: sealPassword(password, key, row), keyId: key.id };
    } catch (error) {
      if (!isFailure(error)) throw error;
      refusal ??= error;
      return null;
    }
  };
  for (let after: string | null = null; ; ) {
    const batch: PasswordBatch = { selection: 'sealable', after, limit: batchRows, revision, audit };
    const { lastId, changed } = await ports.store.rewritePasswords(batch, change);
    sealed += changed;
    if (lastId === null) break;
    after = lastId;
  }
  if (refusal !== null && sealed === 0) throw refusal;
  return sealed;
}
