/**
 * Seals what stands readable in the table while the switch is on: what the helpdesk writes, whether it is due or not. Each
 * is marked as one that came out of the table: nobody but its writer has said where it is to go.
 *
 * Stretch by stretch, each in a transaction that checks that the row of the switch is the one that was looked at, so that
 * nothing is sealed after the switch went off. While that row is forged or rolled back, the last good switch counts, here
 * too. What can never be sealed (empty, too long) is not met; one that fails otherwise is left, told, and stops no other.
 */
import { type Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { Author } from '../ingest/model.ts';
import { type Key, keyById } from '../secret/key.ts';
import { sealPassword } from '../secret/sealed-password.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { firstRow, sealingKey } from '../secret/switch.ts';
import type { EncryptionStore, PasswordChange, PasswordRow } from './ports.ts';
import type { Vault } from './vault.ts';

export type SealingPorts = {
  readonly store: Pick<EncryptionStore, 'changePasswords'>;
  readonly vault: Vault;
  readonly log: Log;
  readonly by: Author;
};

const stretchRows = 200;

/** One sweep over the table; does nothing while the switch is not on. Never throws: what fails is told and tried again. */
export function createSealing(ports: SealingPorts): () => Promise<void> {
  let told: string | null = null;
  return async () => {
    const { switch: inForce, stored, problem } = ports.vault.view;
    const key = keyById(ports.vault.keys(), sealingKey(inForce));
    // An operation that is switching on or off does this itself.
    if (key === null || problem?.code === 'key_unknown' || (inForce.state !== 'on' && inForce.state !== 'rotating'))
      return;
    try {
      const sealed = await sweep(ports, key, stored?.revision ?? firstRow.revision);
      if (sealed > 0) ports.log.info({ count: sealed, key_id: key.id }, events.passwordsSealed);
      told = null;
    } catch (error) {
      if (!isFailure(error)) throw error;
      if (error.code !== told && error.code !== 'switch_changed') ports.log.warn({ error }, events.sealingFailed);
      told = error.code;
    }
  };
}

async function sweep(ports: SealingPorts, key: Key, revision: number): Promise<number> {
  const audit = { ...ports.by, action: 'password.sealed' };
  let sealed = 0;
  let refusal: Failure | null = null;
  const change = async (row: PasswordRow): Promise<PasswordChange> => {
    try {
      using password = SecretBytes.take(row.bytes);
      return { form: 'sealed', sealed: sealPassword(password, key, row, 'table'), keyId: key.id };
    } catch (error) {
      if (!isFailure(error)) throw error;
      refusal ??= error;
      return null;
    }
  };
  for (let after: string | null = null; ; ) {
    const stretch = { choice: 'sealable', after, limit: stretchRows, revision, audit } as const;
    const { lastId, changed } = await ports.store.changePasswords(stretch, change);
    sealed += changed;
    if (lastId === null) break;
    after = lastId;
  }
  if (refusal !== null && sealed === 0) throw refusal;
  return sealed;
}
