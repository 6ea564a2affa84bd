/**
 * Actions of the page Server > Encryption: each runs the workflow of the command of that name, with the same rules and
 * the same audit.
 *
 * To start disabling takes a proof file newer than the request, which only a person with access to the file system can
 * create. The request is in the memory of this daemon, so it is confirmed here.
 */

import { backupVerifiedAction, compareBackup, keysInUse } from '../encryption/backup.ts';
import { isFailure } from '../errors.ts';
import { capitalized } from '../text/printable.ts';
import { asRunHere } from '../text/program-name.ts';
import type { Operations } from './operations/operations.ts';
import { pageActor } from './ports.ts';
import type { AdminService, BackupVerdict, OperationStart } from './service.ts';
import { type EncryptionViewPorts, readEncryptionView } from './views/encryption.ts';

export type EncryptionServicePorts = EncryptionViewPorts & {
  readonly operations: Pick<Operations, 'start'>;
};

export type EncryptionService = Pick<
  AdminService,
  'encryption' | 'startOperation' | 'requestDisable' | 'confirmDisable' | 'cancelDisable' | 'verifyBackup'
>;

export function createEncryptionService(ports: EncryptionServicePorts): EncryptionService {
  const { control, vault, operations } = ports;
  return {
    encryption: () => readEncryptionView(ports),
    startOperation: async (kind, by) => startResult(await operations.start(kind, pageActor(by), false)),
    requestDisable: async (by) => {
      const { switch: inForce } = await vault.refresh();
      if (inForce.state !== 'off') await control.requestDisable(pageActor(by));
    },
    confirmDisable: async (by) => startResult(await control.confirmDisable(pageActor(by))),
    cancelDisable: (by) => control.cancelDisable(pageActor(by)),
    verifyBackup: (held, by) => verify(ports, held, by),
  };
}

/** A Failure: nothing was started. */
export function startResult(result: unknown): OperationStart {
  if (!isFailure(result)) return { kind: 'started' };
  const { message, hint } = result;
  return { kind: 'refused', sentence: `${capitalized(message)}. ${asRunHere(hint)}` };
}

async function verify(ports: EncryptionServicePorts, given: readonly string[], by: string): Promise<BackupVerdict> {
  const { keyFile, vault, store, actor } = ports;
  const { switch: inForce } = await vault.refresh();
  const inUse = keysInUse(await keyFile.read(), vault);
  if (inUse.wanted.length === 0) return { kind: 'no_key' };
  const { kind, lacks, former } = await compareBackup(given, inUse, store);
  const isSame = kind === 'same';
  // Of the ids that a browser sent, only known ones are written to the audit.
  const held = inUse.wanted.filter((id) => given.includes(id));
  const detail = isSame ? held.join(' ') : `lacks ${lacks.join(' ')}`;
  const { keyId, nextKeyId } = inForce;
  const entry = { who: pageActor(by), host: actor.host, keyId, nextKeyId, mailboxId: null, detail };
  await store.audit([{ ...entry, action: isSame ? backupVerifiedAction : 'key.backup_differs' }]);
  return isSame ? { kind } : { kind, keyIds: lacks, formerKeyIds: former.map(({ id }) => id) };
}
