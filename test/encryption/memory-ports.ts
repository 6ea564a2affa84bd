/**
 * In-memory host and database that fulfil the port contracts; the `World` survives every simulated process.
 *
 * Rows are copies, which are wiped, and results are written at the end, as in the database. Time advances during short
 * sleeps; a long sleep ends only with the event that it waits for.
 */
import type {
  AuditEntry,
  EncryptionStore,
  KeyFile,
  PasswordBatch,
  PasswordBatchResult,
  PasswordRewrite,
  PasswordRow,
  PasswordSelection,
  ReplyKeyStore,
  SettingsRow,
  SettingsSealBatch,
  StoredWorker,
  SwitchStateFile,
  TokenBatch,
  TokenRewrite,
  TokenRewriteRow,
} from '../../src/encryption/ports.ts';
import {
  accepting,
  emptySwitchMemory,
  issuing,
  replacing,
  type SwitchMemory,
  withdrawing,
} from '../../src/encryption/switch-memory.ts';
import { Failure } from '../../src/errors.ts';
import type { Mailbox, PostAction } from '../../src/ingest/model.ts';
import type { KeyId, KeySet } from '../../src/secret/key.ts';
import type { StoredReplyKey } from '../../src/secret/reply-key.ts';
import { initialSwitchRow, type SwitchRow } from '../../src/secret/switch.ts';
import { type Fate, type Parts, type Process, processOver } from './operations/process.ts';

export type Stored = {
  readonly id: string;
  readonly name: string;
  host: string;
  form: 'plain' | 'sealed';
  bytes: Uint8Array;
  keyId: KeyId | null;
  /** Settings seal, and the post-action that it is about. */
  seal: string | null;
  postAction: PostAction;
};

/** A token of the grant of that name and id. `bytes` null: dropped. */
export type StoredTokenRow = {
  readonly kind: 'refresh' | 'access';
  readonly name: string;
  provider: string;
  form: 'plain' | 'sealed';
  bytes: Uint8Array | null;
  keyId: KeyId | null;
  /** Its grant needs a consent. */
  isEnded: boolean;
};

export type World = {
  nowMs: number;
  file: KeySet | Failure | null;
  readonly asideFiles: { readonly path: string; readonly keys: KeySet }[];
  remembered: SwitchRow | Failure | null;
  origin: SwitchMemory['origin'];
  issued: SwitchMemory['issued'];
  row: SwitchRow | null;
  readonly passwords: Map<string, Stored>;
  /** By kind and name of the grant. */
  readonly tokens: Map<string, StoredTokenRow>;
  audit: AuditEntry[];
  claim: { readonly owner: string; readonly untilMs: number } | null;
  workers: StoredWorker[];
  rebuilds: number;
  replyKeys: readonly StoredReplyKey[];
};

export function newWorld(): World {
  return {
    nowMs: 1_800_000_000_000,
    file: null,
    asideFiles: [],
    remembered: null,
    origin: null,
    issued: [],
    row: initialSwitchRow,
    passwords: new Map(),
    tokens: new Map(),
    audit: [],
    claim: null,
    workers: [],
    rebuilds: 0,
    replyKeys: [],
  };
}

/** Another world that is the same until something happens in one of them. */
export function copyOf(world: World): World {
  const passwords = new Map([...world.passwords].map(([id, stored]) => [id, { ...stored }]));
  const tokens = new Map([...world.tokens].map(([key, row]) => [key, { ...row }]));
  return { ...world, passwords, tokens, asideFiles: [...world.asideFiles], audit: [...world.audit] };
}

/** A new process on this host, to which every other one is dead, but for those of `alive`. */
export function startProcess(world: World, fate?: Fate, alive?: readonly string[]): Process {
  return processOver(partsOf(world), fate, alive);
}

function partsOf(world: World): Parts {
  return { keyFile: keyFileOf(world), memory: memoryOf(world), store: storeOf(world), clock: clockOf(world) };
}

function clockOf(world: World): Parts['clock'] {
  return {
    nowMs: () => world.nowMs,
    monotonicMs: () => world.nowMs,
    sleep: async (ms, signal) => {
      if (signal.aborted) return;
      if (ms >= 1000) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      else world.nowMs += ms;
    },
  };
}

function keyFileOf(world: World): KeyFile {
  const path = 'data/encryption-key.bin';
  return {
    path,
    read: async () => {
      if (world.file === null) return { kind: 'absent' };
      if (world.file instanceof Failure) return { kind: 'refused', failure: world.file };
      return { kind: 'keys', keys: world.file, wrapped: null };
    },
    create: async (keys) => {
      if (world.file !== null) throw new Failure('already_exists', 'there is a key file');
      world.file = [...keys];
    },
    replace: async (keys) => {
      world.file = [...keys];
    },
    setAside: async (reason) => {
      if (world.file === null) return null;
      const keys = world.file instanceof Failure ? [] : world.file;
      const aside = { path: `${path}.${reason}-${world.asideFiles.length}`, keys };
      world.asideFiles.push(aside);
      world.file = null;
      return aside.path;
    },
  };
}

function memoryOf(world: World): SwitchStateFile {
  const read = (): SwitchMemory => {
    if (world.remembered instanceof Failure) throw world.remembered;
    return { row: world.remembered, origin: world.origin, issued: world.issued };
  };
  const write = (memory: SwitchMemory | null): void => {
    if (memory !== null) Object.assign(world, { remembered: memory.row, origin: memory.origin, issued: memory.issued });
  };
  return {
    read: async () => read().row,
    readMemory: async () => read(),
    issue: async (row, origin, by) => write(issuing(read(), row, origin, by)),
    withdraw: async (seal) => write(withdrawing(read(), seal)),
    remember: async (row, origin) => write(accepting(read(), row, origin)),
    overwrite: async (row) => write(replacing(emptySwitchMemory, row)),
  };
}

function storeOf(world: World): EncryptionStore {
  return {
    readSwitch: async () => ({
      row: world.row,
      hasPlaintext: count(world, 'plain') > 0 || tokensOf(world, 'refresh', 'plain').length > 0,
      hasSealed: count(world, 'sealed') > 0 || tokensOf(world, null, 'sealed').length > 0,
    }),
    writeSwitch: async (row, expectedRevision, audit) => {
      checkRevision(world, expectedRevision);
      world.row = row;
      world.audit.push(...audit);
    },
    ...claimsOf(world),
    rewritePasswords: (stretch, change) => rewritePasswords(world, stretch, change),
    ...tokenStoreOf(world),
    readSettings: async (batch) => {
      const found = nextMailboxes(world, batch);
      const rows = found.map((stored) => ({ mailbox: mailboxOf(stored), seal: stored.seal }));
      return { rows, lastId: found.at(-1)?.id ?? null };
    },
    rewriteSettingsSeals: async (batch, change) => rewriteSettingsSeals(world, batch, change),
    ...replyKeysOf(world),
    databaseServer: async () => null,
    passwordCounts: async () => passwordCounts(world),
    plaintextPeriods: async () => [{ mailbox: 'desk', sinceMs: 1000, untilMs: null }],
    countMailboxesWithoutKey: async (keyIds) => waiting(world, keyIds),
    rebuildMailboxTable: async () => {
      world.rebuilds += 1;
    },
    audit: async (entries) => void world.audit.push(...entries),
    readAudit: async () => [],
    reportWorker: async () => undefined,
    removeWorker: async () => undefined,
    listWorkers: async () => world.workers,
  };
}

function tokensOf(world: World, kind: TokenBatch['kind'] | null, form: 'plain' | 'sealed'): StoredTokenRow[] {
  const isOne = (row: StoredTokenRow) => row.bytes !== null && row.form === form && (kind ?? row.kind) === row.kind;
  return [...world.tokens.values()].filter(isOne).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function tokenStoreOf(
  world: World,
): Pick<EncryptionStore, 'rewriteTokens' | 'tokenCounts' | 'dropAccessTokens' | 'replaceSwitchKey'> {
  const countsOf = (kind: TokenBatch['kind']) => {
    const sealed = tokensOf(world, kind, 'sealed');
    const byKey = [...Map.groupBy(sealed, ({ keyId }) => keyId)].map(([keyId, rows]) => ({
      keyId,
      count: rows.length,
    }));
    return { sealed: sealed.length, plaintext: tokensOf(world, kind, 'plain').length, byKey };
  };
  return {
    rewriteTokens: (batch, change) => rewriteTokens(world, batch, change),
    tokenCounts: async () => ({ refresh: countsOf('refresh'), access: countsOf('access') }),
    dropAccessTokens: async (form, revision) => {
      checkRevision(world, revision);
      for (const row of tokensOf(world, 'access', form)) writeToken(row, { form: 'dropped' });
    },
    replaceSwitchKey: async (row, expectedRevision, entry) => {
      const { keyId } = row;
      checkRevision(world, expectedRevision);
      world.row = row;
      world.audit.push(entry);
      const lost = tokensOf(world, null, 'sealed').filter((row) => row.keyId !== keyId);
      for (const token of lost) {
        token.isEnded = token.kind === 'refresh';
        writeToken(token, { form: 'dropped' });
      }
      return lost.filter(({ kind }) => kind === 'refresh').length;
    },
  };
}

async function rewriteTokens(
  world: World,
  { kind, selection, after, limit, revision, audit }: TokenBatch,
  change: (row: TokenRewriteRow) => Promise<TokenRewrite>,
): Promise<PasswordBatchResult> {
  checkRevision(world, revision);
  const form = selection === 'plain' || selection === 'sealable' ? 'plain' : 'sealed';
  const chosen = tokensOf(world, kind, form)
    .filter(
      ({ name, keyId }) =>
        (after === null || name > after) && (typeof selection === 'string' || keyId !== selection.notUnder),
    )
    .slice(0, limit);
  let changed = 0;
  for (const row of chosen) {
    const bytes = Uint8Array.from(row.bytes ?? []);
    const { name, provider } = row;
    const made = await change({ ...tokenContextOf(row), name, provider, form, bytes });
    bytes.fill(0);
    if (made === null) continue;
    checkRevision(world, revision);
    writeToken(row, made);
    changed += 1;
    if (kind === 'refresh') world.audit.push({ ...audit, keyId: null, nextKeyId: null, mailboxId: null, detail: name });
  }
  return { lastId: chosen.at(-1)?.name ?? null, seen: chosen.length, changed };
}

function writeToken(row: StoredTokenRow, made: Exclude<TokenRewrite, null>): void {
  row.form = made.form === 'sealed' ? 'sealed' : 'plain';
  row.keyId = made.form === 'sealed' ? made.keyId : null;
  if (made.form === 'plain') {
    using token = made.token;
    row.bytes = token.use((bytes) => Uint8Array.from(bytes));
  } else row.bytes = made.form === 'sealed' ? made.sealed : null;
}

/** Everything that the token is bound to but its provider. */
export function tokenContextOf({ kind, name }: StoredTokenRow) {
  return { kind, grantId: name, account: `${name}@example.test`, username: '' };
}

function replyKeysOf(world: World): ReplyKeyStore {
  return {
    readReplyKeys: async () => world.replyKeys,
    writeReplyKeys: async (changes) => {
      for (const { before, isRetired, ...row } of changes) {
        const retiredAtMs = isRetired ? (before?.retiredAtMs ?? world.nowMs) : null;
        const at = world.replyKeys.findIndex(({ id }) => id === row.id);
        if (world.replyKeys[at]?.secret === before?.secret)
          world.replyKeys = world.replyKeys.toSpliced(at === -1 ? world.replyKeys.length : at, 1, {
            ...row,
            retiredAtMs,
          });
      }
    },
  };
}

function checkRevision({ row }: World, expected: number): void {
  const revision = row?.revision ?? 0;
  if (revision !== expected) throw new Failure('switch_changed', `the switch is at revision ${revision}`);
}

function claimsOf(
  world: World,
): Pick<EncryptionStore, 'claimOperation' | 'operationOwner' | 'renewOperation' | 'endOperation'> {
  return {
    claimOperation: async (owner, forMs, isDead) => {
      const { claim } = world;
      const isFree = claim === null || claim.owner === owner || claim.untilMs <= world.nowMs || isDead(claim.owner);
      if (!isFree) return claim.owner;
      world.claim = { owner, untilMs: world.nowMs + forMs };
      return null;
    },
    operationOwner: async () => (world.claim !== null && world.claim.untilMs > world.nowMs ? world.claim.owner : null),
    renewOperation: async (owner, forMs) => {
      if (world.claim?.owner !== owner) throw new Failure('operation_running', 'the claim is lost');
      world.claim = { owner, untilMs: world.nowMs + forMs };
    },
    endOperation: async (owner) => {
      if (world.claim?.owner === owner) world.claim = null;
    },
  };
}

function count(world: World, form: Stored['form']): number {
  return [...world.passwords.values()].filter((stored) => stored.form === form).length;
}

function passwordCounts(world: World) {
  const sealed = [...world.passwords.values()].filter(({ form }) => form === 'sealed');
  const byKey = [...Map.groupBy(sealed, ({ keyId }) => keyId)];
  return {
    sealed: sealed.length,
    plaintext: count(world, 'plain'),
    byKey: byKey.map(([keyId, rows]) => ({ keyId, count: rows.length })),
  };
}

function waiting(world: World, keyIds: readonly KeyId[]): number {
  const isWaiting = ({ form, keyId }: Stored) => form === 'sealed' && !keyIds.includes(keyId ?? '');
  return [...world.passwords.values()].filter(isWaiting).length;
}

function isChosen({ form, keyId }: Stored, choice: PasswordSelection): boolean {
  if (choice === 'sealable') return form === 'plain';
  return typeof choice === 'string' ? form === choice : form === 'sealed' && keyId !== choice.notUnder;
}

async function rewritePasswords(
  world: World,
  stretch: PasswordBatch,
  change: (row: PasswordRow) => Promise<PasswordRewrite>,
): Promise<PasswordBatchResult> {
  checkRevision(world, stretch.revision);
  const chosen = [...world.passwords.values()]
    .filter((stored) => (stretch.after === null || stored.id > stretch.after) && isChosen(stored, stretch.selection))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .slice(0, stretch.limit);
  const changes = await Promise.all(chosen.map(async (stored) => [stored, await handOut(stored, change)] as const));
  checkRevision(world, stretch.revision);
  const written = changes.filter(([stored, made]) => write(stored, made));
  const action = { ...stretch.audit, keyId: null, nextKeyId: null, detail: null };
  world.audit.push(...written.map(([{ id }]) => ({ ...action, mailboxId: id })));
  return { lastId: chosen.at(-1)?.id ?? null, seen: chosen.length, changed: written.length };
}

function rewriteSettingsSeals(
  world: World,
  { after, limit, revision }: SettingsSealBatch,
  change: (row: SettingsRow) => string | null,
): string | null {
  checkRevision(world, revision);
  const batch = nextMailboxes(world, { after, limit });
  for (const stored of batch) stored.seal = change({ mailbox: mailboxOf(stored), seal: stored.seal }) ?? stored.seal;
  return batch.at(-1)?.id ?? null;
}

function nextMailboxes(world: World, { after, limit }: Pick<SettingsSealBatch, 'after' | 'limit'>): Stored[] {
  return [...world.passwords.values()]
    .filter(({ id }) => after === null || id > after)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .slice(0, limit);
}

export function mailboxOf(stored: Stored): Mailbox {
  const { id, name, postAction } = stored;
  const connection = { ...connectionOf(stored), tls: 'implicit', folder: 'INBOX' } as const;
  const rest = { start: { from: 'all' }, pollIntervalMs: null, grant: null, addresses: [], state: 'active' } as const;
  return { id, name, connection, postAction, ...rest };
}

export function connectionOf({ host, name }: Stored): PasswordRow['connection'] {
  return { host, port: 993, tls: 'implicit', caPem: null, fingerprint: null, allowPlaintext: false, user: name };
}

async function handOut(
  stored: Stored,
  change: (row: PasswordRow) => Promise<PasswordRewrite>,
): Promise<PasswordRewrite> {
  const bytes = new Uint8Array(new ArrayBuffer(4096), 0, stored.bytes.length);
  bytes.set(stored.bytes);
  const { id: mailboxId, name, form } = stored;
  const made = await change({ mailboxId, name, form, bytes, connection: connectionOf(stored) });
  bytes.fill(0);
  return made;
}

function write(stored: Stored, made: PasswordRewrite): boolean {
  if (made === null) return false;
  stored.form = made.form;
  stored.keyId = made.form === 'sealed' ? made.keyId : null;
  stored.bytes = made.form === 'sealed' ? made.sealed : made.password.use((bytes) => Uint8Array.from(bytes));
  return true;
}
