/**
 * Admin accounts: add, change password, remove, unlock.
 *
 * Passwords are stored as Argon2id hashes (`src/secret/admin-password.ts`). A new password ends every session of its
 * account. A change and its audit row are one transaction.
 */

import type { Clock } from '../../async/clock.ts';
import { Failure } from '../../errors.ts';
import type { AuditActor } from '../../ingest/model.ts';
import { adminPasswordProblem, adminSaltBytes, hashAdminPassword } from '../../secret/admin-password.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import type { AdminAccount, AdminStore } from '../ports.ts';
import { adminAudit, isAdminName } from '../ports.ts';

export type AccountPorts = {
  readonly store: AdminStore;
  readonly clock: Pick<Clock, 'nowMs'>;
  /** Fills bytes, as randomFillSync of node:crypto does. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
  readonly newId: () => string;
  readonly actor: AuditActor;
};

/** The name in normal form C. Throws `usage`. */
export function readAdminName(text: string): string {
  const name = text.normalize('NFC');
  if (isAdminName(name)) return name;
  const rule =
    'must be 1 to 64 printable characters, without a space at its ends or "-" at its beginning, and not "unknown"';
  throw new Failure('usage', `the name of an admin ${rule}`, { hint: 'Choose another name.' });
}

/** Throws `already_exists`. */
export async function requireFreeName({ store }: AccountPorts, name: string): Promise<void> {
  const account = await store.accountByName(name);
  if (account === null) return;
  const change = commandOrNotice(shellCommand('admin set-password', account.name));
  throw new Failure('already_exists', `an admin named ${JSON.stringify(account.name)} exists already`, {
    hint: `Choose another name, or set a new password of that one: ${change}`,
  });
}

/** Throws `usage` for an invalid name or password, `already_exists`. */
export async function addAccount(ports: AccountPorts, given: string, password: SecretBytes): Promise<AdminAccount> {
  const name = readAdminName(given);
  const passwordHash = await hashOf(ports, password);
  await requireFreeName(ports, name);
  const nowMs = ports.clock.nowMs();
  const account = { id: ports.newId(), name, passwordHash, createdAtMs: nowMs, passwordChangedAtMs: nowMs };
  await ports.store.addAccount(account, adminAudit(ports.actor, 'admin.added', name));
  return { ...account, lastSignInAtMs: null };
}

/** Without regard to case. Throws `not_found`. */
export async function findAccount({ store }: AccountPorts, name: string): Promise<AdminAccount> {
  return (await store.accountByName(name)) ?? missing(name);
}

/** Also ends every session of the account and resets the rate limit of its name. Throws `usage`, `not_found`. */
export async function setAccountPassword(
  ports: AccountPorts,
  { id, name }: AdminAccount,
  password: SecretBytes,
): Promise<void> {
  const { store, clock, actor } = ports;
  const passwordHash = await hashOf(ports, password);
  const audit = adminAudit(actor, 'admin.password_changed', name);
  if (!(await store.setPasswordHash(id, passwordHash, clock.nowMs(), audit))) missing(name);
}

/** Also ends its sessions. Throws `not_found`. */
export async function removeAccount({ store, actor }: AccountPorts, { id, name }: AdminAccount): Promise<void> {
  if (!(await store.removeAccount(id, adminAudit(actor, 'admin.removed', name)))) missing(name);
}

/** Clears all rate-limit counters. Running daemons notice within `recheckMs` (limits.ts). */
export async function unlockSignIn({ store, actor }: Pick<AccountPorts, 'store' | 'actor'>): Promise<void> {
  await store.clearAllAttempts(adminAudit(actor, 'admin.unlocked', null));
}

/** Throws `usage`. */
export function requireGoodPassword(password: SecretBytes): void {
  const problem = adminPasswordProblem(password);
  if (problem !== null) throw new Failure('usage', problem, { hint: 'Nothing was changed: choose another one.' });
}

async function hashOf({ random }: AccountPorts, password: SecretBytes): Promise<string> {
  requireGoodPassword(password);
  return await hashAdminPassword(password, random(new Uint8Array(adminSaltBytes)));
}

function missing(name: string): never {
  const hint = 'See ticketmaild admin list.';
  throw new Failure('not_found', `there is no admin named ${JSON.stringify(name)}`, { fields: { admin: name }, hint });
}
