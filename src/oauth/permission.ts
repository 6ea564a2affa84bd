/**
 * Access control for tokens: the allow-list of mailboxes, and the mail servers that a token may be sent to.
 *
 * An application or a service account can open every mailbox of its organization, so the configuration lists those that
 * are opened, and user, host and authorities in the row of a mailbox are checked against it before anything is asked of
 * the provider. Pure.
 */
import type { OAuthProvider } from '../config/oauth-provider.ts';
import { Failure, failureMeanings } from '../errors.ts';
import type { Connection } from '../ingest/model.ts';
import { printableLine } from '../text/printable.ts';

type Listing = Pick<OAuthProvider, 'name' | 'flow' | 'mailboxes'>;
type Destination = Pick<OAuthProvider, 'name' | 'imapHosts' | 'caPem'>;

/**
 * A wildcard lets these local parts through: servers read other characters as a second address or a path, or open
 * another mailbox with them, and some normalize letters beyond ASCII.
 */
const plainLocalPart = /^[a-z0-9._+'&=#~-]+$/;

/**
 * Throws `oauth_mailbox_not_listed` unless `user` is listed, or, with flow `person`, is the `account` that consented.
 */
export function checkUserListed(user: string, provider: Listing, account: string | null): void {
  const name = asciiLowerCase(user);
  const isOwn = provider.flow === 'person' && account !== null && account !== '' && asciiLowerCase(account) === name;
  if (isOwn || provider.mailboxes.some((entry) => isListed(name, entry))) return;
  const table = `[oauth.${provider.name}]`;
  const message = `user ${printableLine(user)} is not listed in mailboxes of ${table}, so no token opens this mailbox`;
  const hint = failureMeanings.oauth_mailbox_not_listed.hint.replace('[oauth.NAME]', table);
  throw new Failure('oauth_mailbox_not_listed', message, { fields: { provider: provider.name }, hint });
}

function isListed(user: string, entry: string): boolean {
  if (!entry.startsWith('*@')) return user !== '' && user === entry;
  const [local = '', domain, ...more] = user.split('@');
  return more.length === 0 && domain === entry.slice(2) && domain !== '' && plainLocalPart.test(local);
}

/** Letters beyond ASCII stay: the Kelvin sign, say, would become a `k`. */
export function asciiLowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * The connection that a token may be sent over: a server of `imap_hosts`, TLS with a verified certificate, and the
 * authorities of the provider. Throws `token_bound_elsewhere`.
 */
export function tokenConnection(connection: Connection, provider: Destination): Connection {
  const { host, port, tls, caPem, fingerprint } = connection;
  const isNamed = provider.imapHosts.some((one) => one.host === asciiLowerCase(host) && one.port === port);
  const reason = isNamed ? untrustedBy({ tls, caPem, fingerprint }) : unnamedHost(connection, provider);
  if (reason === null) return { ...connection, caPem: provider.caPem, allowPlaintext: false };
  const message = `no token of [oauth.${provider.name}] is sent there: ${reason}`;
  throw new Failure('token_bound_elsewhere', message, { fields: { provider: provider.name } });
}

const listedMax = 5;

function unnamedHost({ host, port }: Connection, { imapHosts }: Destination): string {
  const listed = imapHosts.slice(0, listedMax).map((one) => `${one.host}:${one.port}`);
  const more = imapHosts.length > listedMax ? ', …' : '';
  return `its server ${printableLine(host)}:${port} is not in imap_hosts (${listed.join(', ')}${more})`;
}

function untrustedBy({ tls, caPem, fingerprint }: Pick<Connection, 'tls' | 'caPem' | 'fingerprint'>): string | null {
  if (tls === 'none') return 'the mailbox uses no TLS';
  if (caPem !== null) return 'the mailbox has certificate authorities of its own';
  return fingerprint === null ? null : 'the mailbox pins a certificate';
}
