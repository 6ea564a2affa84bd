/**
 * Signing in on a real database, with a clock that a test turns and accounts whose hashes cost next to nothing.
 */
import { argon2Sync, createHash, randomBytes, randomFillSync, randomUUID } from 'node:crypto';
import type { Database } from '../../../src/adapters/database/database.ts';
import type { AdminAccount } from '../../../src/admin/ports.ts';
import { createSignIn, type SignIn } from '../../../src/admin/sign-in/sign-in.ts';
import type { EventName, Log, LogFields } from '../../../src/events.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';

export const password = 'Regen im Mai, 7 Tage';
export const address = '192.0.2.1';
export const actor = { who: 'ticketmaild@desk', host: 'desk' };
export const minuteMs = 60_000;

export type Line = LogFields & { readonly level: string; readonly event: EventName };

export type Scene = SignIn & {
  readonly clock: { ms: number };
  readonly idle: { ms: number };
  readonly lines: Line[];
  /** Signs in with what an admin types. */
  try(name: string, typed?: string, from?: string): ReturnType<SignIn['signIn']>;
  addAccount(name: string, passwordHash?: string): Promise<Omit<AdminAccount, 'lastSignInAtMs'>>;
  /** An admin who is signed in: the token, without the time that a hash takes. */
  begun(name?: string): Promise<string>;
  /** Of the account, as it is stored now. */
  hashOf(name: string): Promise<string | undefined>;
  /** Action, who and detail of each row about the page, the oldest first. */
  audit(): Promise<readonly string[]>;
};

/** The tables that a test leaves rows in. */
export const adminTables = ['admin_account', 'admin_session', 'admin_attempt', 'audit'] as const;

export function signInOver(store: Database, nowMs = Date.UTC(2026, 0, 31, 8, 30)): Scene {
  const clock = { ms: nowMs };
  const idle = { ms: 30 * minuteMs };
  const { log, lines } = collectingLog();
  const signIn = createSignIn({
    ...{ store, actor, log },
    clock: { nowMs: () => clock.ms },
    random: (bytes) => randomFillSync(bytes),
    idleMs: () => idle.ms,
  });
  return {
    ...{ ...signIn, clock, idle, lines },
    try: (name, typed = password, from = address) => signIn.signIn(name, secret(typed), from),
    async addAccount(name, passwordHash = cheapHash(password)) {
      const account = { id: randomUUID(), name, passwordHash, createdAtMs: nowMs, passwordChangedAtMs: nowMs };
      await store.addAccount(account, rowOf('admin.added', name));
      return account;
    },
    async begun(name = 'Ada') {
      const token = randomBytes(32).toString('base64url');
      const account = await store.accountByName(name);
      if (account === null) throw new Error(`there is no ${name}`);
      await store.addSession(
        createHash('sha256').update(token).digest('hex'),
        account,
        clock.ms,
        rowOf('admin.x', null),
      );
      return token;
    },
    hashOf: async (name) => (await store.accountByName(name))?.passwordHash,
    audit: async () =>
      (await store.readAudit(1000, 'admin'))
        .map(({ action, who, detail }) => `${action}: ${who}: ${detail}`)
        .toReversed(),
  };
}

function rowOf(action: string, detail: string | null) {
  return { ...actor, action, keyId: null, nextKeyId: null, mailboxId: null, detail };
}

export function secret(text: string): SecretBytes {
  return SecretBytes.take(Buffer.from(text));
}

/** Of parameters that were raised since: 64 KiB, 1 pass, 1 lane. */
export function cheapHash(text: string): string {
  const nonce = randomBytes(16);
  const parameters = { message: text, nonce, parallelism: 1, tagLength: 32, memory: 64, passes: 1 };
  const [salt, tag] = [nonce, argon2Sync('argon2id', parameters)].map((bytes) => bytes.toString('base64'));
  return `$argon2id$v=19$m=64,t=1,p=1$${salt}$${tag}`.replaceAll('=$', '$').replace(/=+(?=\$|$)/g, '');
}

export function collectingLog(): { readonly log: Log; readonly lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: string) => (fields: LogFields, event: EventName) => void lines.push({ level, ...fields, event });
  return { log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }, lines };
}
