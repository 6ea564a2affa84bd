/**
 * OAuth 2 sign-in of a person on the page: authorization code with PKCE, begun by an admin for the grant of a mailbox.
 *
 * A sign-in in progress lives in memory of this worker: for 10 minutes, for one use, bound to the session of the admin
 * who began it. Its `state` (RFC 6749 section 10.12) is what the answer is recognized by, so that an answer from
 * elsewhere (login CSRF) is refused before the provider is asked. Nothing is stored unless all of it is right.
 */
import { createHash } from 'node:crypto';
import { Failure, isFailure } from '../errors.ts';
import type { AuditActor, Mailbox } from '../ingest/model.ts';
import type { MailboxStore } from '../ingest/stores.ts';
import type { BrowserConsent, ConsentRequest, Consents } from '../oauth/consent.ts';
import { configuredProvider } from '../oauth/grant-directory.ts';
import { tokenConnection } from '../oauth/permission.ts';
import type { GrantStore } from '../oauth/ports.ts';
import { printableLine } from '../text/printable.ts';
import { asRunHere } from '../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../text/shell.ts';
import { mailboxOrNull } from './mailboxes/confirmation.ts';
import { pageActor } from './ports.ts';
import type { AdminService, FinishedSignIn, MailboxSignIn, ProviderSignIn } from './service.ts';

type OAuthProvider = ConsentRequest['provider'];

export type OAuthSignInPorts = {
  readonly store: Pick<MailboxStore, 'versionedMailbox'> & Pick<GrantStore, 'grantByName'>;
  readonly consents: Pick<Consents, 'beginBrowser'>;
  /** In force now; a reload changes them. */
  readonly providers: () => readonly OAuthProvider[];
  readonly actor: AuditActor;
  readonly clock: { monotonicMs(): number };
};

/** A finished one is kept until its time is over, so that a repeated answer is distinguished from a foreign one. */
type PendingSignIn = {
  readonly consent: BrowserConsent;
  readonly mailbox: string;
  readonly redirectUri: string;
  readonly sessionHash: string;
  readonly untilMs: number;
  isUsed: boolean;
};

const validMs = 10 * 60_000;
/** An expired sign-in is recognized as such for an hour more. */
const rememberedMs = 60 * 60_000;
const pendingMax = 64;
/** Less than a response may take. */
const exchangeMs = 20_000;

export function createOAuthSignIn(
  ports: OAuthSignInPorts,
): Pick<AdminService, 'connectMailbox' | 'finishSignIn'> & { signInOf(mailbox: Mailbox): Promise<MailboxSignIn> } {
  const pending = new Map<string, PendingSignIn>();
  return {
    signInOf: (mailbox) => signInOf(mailbox, ports),
    connectMailbox: (name, provider, from) => connect(pending, { name, provider, ...from }, ports),
    finishSignIn: (answer, session) => finish(pending, answer, session, ports),
  };
}

type ConnectRequest = {
  readonly name: string;
  readonly provider: string;
  readonly redirectUri: string;
  readonly token: string;
  readonly by: string;
};

async function connect(
  pending: Map<string, PendingSignIn>,
  { name, provider: providerName, redirectUri, token, by }: ConnectRequest,
  ports: OAuthSignInPorts,
): Promise<ProviderSignIn> {
  const mailbox = (await mailboxOrNull(ports.store, name))?.mailbox ?? null;
  if (mailbox?.grant == null)
    throw new Failure('refused', 'this mailbox signs in with a password, or is gone', { hint: 'Open its page again.' });
  const provider = (await candidates(mailbox.grant, ports)).find((one) => one.name === providerName);
  if (provider === undefined)
    throw new Failure('refused', 'no person signs in there for this mailbox', { hint: 'Open its page again.' });
  tokenConnection(mailbox.connection, provider);
  const user = mailbox.connection.user;
  const actor = { who: pageActor(by), host: ports.actor.host };
  const consent = await ports.consents.beginBrowser({ grant: mailbox.grant, provider, user, by: actor }, redirectUri);
  if (!/^https?:\/\//.test(consent.url))
    throw new Failure('config_invalid', `the sign-in address of [oauth.${provider.name}] is none for a browser`);
  const untilMs = ports.clock.monotonicMs() + validMs;
  remember(pending, { consent, mailbox: name, redirectUri, sessionHash: hashOf(token), untilMs, isUsed: false });
  return { mailbox: name, label: labelOf(provider), user, url: consent.url, redirectUri };
}

/** Forgets those that are over, then the oldest. */
function remember(pending: Map<string, PendingSignIn>, one: PendingSignIn): void {
  const nowMs = one.untilMs - validMs;
  for (const [state, { untilMs }] of pending)
    if (pending.size >= pendingMax || nowMs > untilMs + rememberedMs) pending.delete(state);
  pending.set(one.consent.state, one);
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

const again = 'Nothing was stored. Begin again on the page of the mailbox.';
const sentences = {
  foreign:
    'This sign-in was not begun here: it is of another page, another worker, or the daemon was restarted meanwhile.',
  session: 'This sign-in was begun in another session, or by another admin.',
  used: 'This sign-in was finished already: a code is good for one use.',
  late: 'This sign-in took longer than 10 minutes.',
} as const;

async function finish(
  pending: Map<string, PendingSignIn>,
  answer: string,
  { token }: { readonly token: string },
  { clock }: OAuthSignInPorts,
): Promise<FinishedSignIn> {
  const states = new URLSearchParams(answer).getAll('state');
  const found = states.length === 1 ? pending.get(states[0] ?? '') : undefined;
  const refused = (why: keyof typeof sentences): FinishedSignIn => {
    const mailbox = why === 'foreign' || why === 'session' ? null : (found?.mailbox ?? null);
    return { mailbox, isDone: false, sentence: `${sentences[why]} ${again}` };
  };
  if (found === undefined) return refused('foreign');
  if (found.sessionHash !== hashOf(token)) return refused('session');
  if (found.isUsed) return refused('used');
  if (clock.monotonicMs() > found.untilMs) return refused('late');
  found.isUsed = true;
  const { mailbox } = found;
  try {
    using consent = await found.consent.finish(addressOf(found, answer), AbortSignal.timeout(exchangeMs));
    const { account } = await consent.store();
    const who = account === null ? 'The sign-in' : `The sign-in of ${printableLine(account)}`;
    return { mailbox, isDone: true, sentence: `${who} is stored: the mailbox is fetched now.` };
  } catch (error) {
    if (!isFailure(error) || error.code === 'unexpected' || error.domain === 'database') throw error;
    return { mailbox, isDone: false, sentence: sentenceOf(error) };
  }
}

/** The address that the browser ended at. */
function addressOf({ redirectUri }: PendingSignIn, answer: string): string {
  return `${redirectUri}?${answer.replace(/^\?/, '')}`;
}

function sentenceOf({ message, hint }: Failure): string {
  const text = `${message.replace(/\.$/, '')}. ${asRunHere(hint)}`;
  return text.includes('Nothing was stored') ? text : `${text} Nothing was stored.`;
}

// How a mailbox signs in, for its page.

const labels = { microsoft: 'Microsoft', google: 'Google', yahoo: 'Yahoo' } as const;

/** As people call it. */
export function labelOf({ kind, name }: Pick<OAuthProvider, 'kind' | 'name'>): string {
  return kind === 'oidc' ? name : labels[kind];
}

/** Providers where a person may sign in for the grant: its own one, or any while no row names one. */
async function candidates(
  grantName: string,
  { store, providers }: OAuthSignInPorts,
): Promise<readonly OAuthProvider[]> {
  const grant = await store.grantByName(grantName);
  const provider = configuredProvider(grantName, grant, providers());
  const all = grant === null && provider === null ? providers() : [provider];
  return all.filter((one) => one?.flow === 'person') as readonly OAuthProvider[];
}

async function signInOf(
  { grant: name, connection, name: mailbox }: Mailbox,
  ports: OAuthSignInPorts,
): Promise<MailboxSignIn> {
  const { user } = connection;
  if (name === null) return { kind: 'password', user };
  const grant = await ports.store.grantByName(name);
  const provider = configuredProvider(name, grant, ports.providers());
  const connect = await candidates(name, ports);
  return {
    ...{ kind: 'oauth', user, grant: name, account: grant?.account ?? null },
    provider: provider === null ? (grant?.provider ?? null) : labelOf(provider),
    providerName: provider?.name ?? null,
    flow: provider?.flow ?? null,
    state: stateOf(grant?.state ?? null, provider),
    sinceMs: grant?.stateSinceMs ?? null,
    cutOffAtMs: grant?.state === 'ready' ? null : (grant?.cutOffAtMs ?? null),
    errorCode: grant?.errorCode ?? null,
    connect: connect.map((one) => ({ provider: one.name, label: labelOf(one) })),
    command: commandOrNotice(shellCommand('mailbox authorize', mailbox)),
  };
}

function stateOf(
  state: 'ready' | 'needs_consent' | 'refused' | null,
  provider: OAuthProvider | null,
): Extract<MailboxSignIn, { kind: 'oauth' }>['state'] {
  if (state !== null) return provider === null ? 'no_provider' : state;
  return provider !== null && provider.flow !== 'person' ? 'unused' : 'no_grant';
}
