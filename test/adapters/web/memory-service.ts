/** A service of the admin page that remembers what it was asked, with accounts and admin sessions in memory. */
import { randomBytes } from 'node:crypto';
import type { MailboxTexts } from '../../../src/admin/mailboxes/form.ts';
import type {
  ActionResult,
  AdminService,
  AdminSession,
  BackupVerdict,
  EncryptionView,
  MailboxRequest,
  MailboxResult,
  OperationStart,
  OverviewView,
  QuarantineView,
  Refusal,
  SignInResult,
} from '../../../src/admin/service.ts';
import type { EncryptionStatus } from '../../../src/encryption/status.ts';
import type { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { begunSignIn, unconfirmedMailbox } from './pages/views-mail.ts';

export type MemoryService = AdminService & {
  readonly refusals: Refusal[];
  /** What was changed, a line each: the call and its values. */
  readonly done: string[];
  /** Of each lookup of an admin session: whether it was a use. */
  readonly uses: boolean[];
  readonly sessions: Map<string, AdminSession>;
  /** What calls do instead, by name. */
  readonly instead: Partial<AdminService>;
  verdict: BackupVerdict;
  started: OperationStart;
  unfinished: EncryptionView['unfinished'];
};

export const adminName = 'ada';
export const adminPassword = 'päss wörd&=%+0';

export function memoryService(instead: Partial<AdminService> = {}): MemoryService {
  const done: string[] = [];
  const sessions = new Map<string, AdminSession>();
  const service: MemoryService = {
    ...{ refusals: [], done, uses: [], sessions, instead },
    ...{ verdict: { kind: 'same' }, started: { kind: 'started' }, unfinished: null },
    signIn: async (name, password, address) => signIn(service, name, password, address),
    async session(token, isUse) {
      service.uses.push(isUse);
      return sessions.get(token) ?? null;
    },
    async signOut(token) {
      done.push(`sign out ${sessions.get(token)?.name ?? 'nobody'}`);
      sessions.delete(token);
    },
    hasNoAccount: async () => false,
    recordRefusal: (refusal) => void service.refusals.push(refusal),
    encryption: async () => encryptionView(service.unfinished),
    async startOperation(kind, by) {
      done.push(`start ${kind} ${by}`);
      return service.started;
    },
    requestDisable: async (by) => void done.push(`request-disable ${by}`),
    async confirmDisable(by) {
      done.push(`confirm-disable ${by}`);
      return service.started;
    },
    cancelDisable: async (by) => void done.push(`cancel-disable ${by}`),
    async verifyBackup(keyIds, by) {
      done.push(`verify-backup ${keyIds.join(' ')} ${by}`);
      return service.verdict;
    },
    async overview(query) {
      done.push(`overview ${JSON.stringify(query)}`);
      return { ...overview, query };
    },
    async quarantine(query) {
      done.push(`quarantine ${JSON.stringify(query)}`);
      return { ...quarantine, query };
    },
    async mailboxSettings(name) {
      done.push(`mailbox ${name}`);
      return name === 'desk' ? unconfirmedMailbox : null;
    },
    async confirmMailbox(name, digest, by) {
      done.push(`confirm ${name} ${digest} ${by}`);
      return { isDone: digest === unconfirmedMailbox.digest, sentence: 'So it is.' };
    },
    ...mailboxForms(() => service),
    async connectMailbox(name, provider, { redirectUri, by }) {
      done.push(`connect ${name} ${provider} ${redirectUri} ${by}`);
      return { ...begunSignIn, mailbox: name, redirectUri };
    },
    async finishSignIn(answer) {
      done.push(`finish ${answer}`);
      return { mailbox: 'desk', isDone: true, sentence: 'The sign-in is stored.' };
    },
    async resolveQuarantined(id, way, by) {
      done.push(`resolve ${id} ${way} ${by}`);
      return { isDone: true, sentence: 'It became ticket TM-1.' };
    },
    ...instead,
  };
  return service;
}

async function signIn(
  service: MemoryService,
  name: string,
  password: SecretBytes,
  address: string,
): Promise<SignInResult> {
  const isRight =
    password.use((bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)) === adminPassword;
  password.wipe();
  service.done.push(`sign in ${name} from ${address}`);
  if (name === 'limited') return { kind: 'limited', retryAfterS: 90 };
  if (name === 'busy') return { kind: 'busy' };
  if (name !== adminName || !isRight) return { kind: 'refused' };
  const token = randomBytes(32).toString('base64url');
  const session = { name, csrf: randomBytes(32).toString('base64url') };
  service.sessions.set(token, session);
  return { kind: 'signed_in', token, session };
}

/** The forms of a mailbox, all of them accepted. */
function mailboxForms(service: () => MemoryService) {
  return {
    providers: () => [{ name: 'm365', label: 'Microsoft' }],
    addMailbox: async (texts, request) => mailboxDone(service(), 'add', texts.name, request, texts),
    changeMailbox: async ({ name, version }, texts, request) =>
      mailboxDone(service(), `change ${version}`, name, request, texts),
    setMailboxPassword: async ({ name, version }, request) =>
      mailboxDone(service(), `set password ${version}`, name, request),
    testMailbox: async ({ name, version }) => mailboxDone(service(), `test ${version}`, name),
    retryMailbox: async (name, by) => retried(service(), name, by),
    retryHost: async (host, by) => retried(service(), host, by),
    setMailboxState: async ({ name, version }, state) => mailboxDone(service(), `${state} ${version}`, name),
    removeMailbox: async ({ name, version }, request) => mailboxDone(service(), `remove ${version}`, name, request),
  } satisfies Partial<AdminService>;
}

function retried({ done }: MemoryService, what: string, by: string): ActionResult {
  done.push(`retry ${what} ${by}`);
  return { isDone: true, sentence: `${what} is polled.` };
}

/** A form of a mailbox that is accepted; both passwords are remembered as they arrived. */
function mailboxDone(
  service: MemoryService,
  what: string,
  name: string,
  request: MailboxRequest | null = null,
  texts: MailboxTexts | null = null,
): MailboxResult {
  const [password, own] = [request?.password ?? null, request?.ownPassword ?? null].map(
    (secret) => secret?.use((bytes) => Buffer.from(bytes).toString()) ?? 'none',
  );
  service.done.push(`${what} ${name} ${password} ${own}${texts === null ? '' : ` ${JSON.stringify(texts)}`}`);
  return { kind: 'done', name, sentence: 'So it is.', probe: null };
}

const emptyList = { list: [], page: 1, pages: 1, total: 0 } as const;

const overview: OverviewView = {
  ...{ atMs: 1_700_000_000_000, isReady: true, failingChecks: [] },
  counts: { ok: 0, failing: 0, waiting: 0, paused: 0, unknown: 0 },
  query: { page: 1, show: 'all', search: '' },
  ...{ mailboxes: emptyList, activity: null, quarantine: { count: 0, reasons: [] }, workers: [] },
};

const quarantine: QuarantineView = {
  query: { page: 1, reason: null },
  reasons: [],
  messages: emptyList,
  sizeBytesMax: 50_000_000,
};

const status: EncryptionStatus = {
  ...{ state: 'off', key_id: null, next_key_id: null, revision: 0, changed_at: null, changed_by: null },
  ...{
    sealed_tokens: 0,
    plaintext_tokens: 0,
    sealed: 0,
    plaintext: 3,
    by_key: [],
    waiting: 0,
    problem: null,
    stored_state: null,
  },
  vault: { state: 'closed', key_ids: [], reason: null, hint: null },
  ...{ workers: [], readable: [] },
} as unknown as EncryptionStatus;

function encryptionView(unfinished: EncryptionView['unfinished']): EncryptionView {
  return {
    ...{ mode: 'off', status, diagnostics: [], operation: null, progress: null, unfinished, proofRequest: null },
    keyFile: { path: '/var/lib/ticketmaild/encryption-key.bin', isProtected: false, keyIds: [] },
    backup: null,
    commands: { backup: 'cp a b', verify: 'ticketmaild key verify b', status: 'ticketmaild status' },
    leftovers: [],
  };
}
