/**
 * Server failures: failures that concern all mailboxes of a mail server, as opposed to those of one mailbox or machine.
 *
 * They open the circuit breaker (scheduler/circuit-breaker.ts) and limit the backoff of each mailbox.
 */
import type { Failure, FailureCode } from '../../errors.ts';
import { type Connection, serverKey } from '../model.ts';

/** A mail server in one TLS mode, as the circuit breaker counts it: a wrong mode is the fault of one mailbox. */
export type Endpoint = Pick<Connection, 'host' | 'port' | 'tls'>;

/** `host:port tls`. */
export function endpointKey({ tls, ...server }: Endpoint): string {
  return `${serverKey(server)} ${tls}`;
}

/** Codes of failures in which the server was not reached: no user had a part in them. */
export const unreachedCodes: readonly FailureCode[] = [
  'name_not_found',
  'connect_refused',
  'connect_timeout',
  'not_imap',
];
/** Server failures as long as no user name was sent. */
const brokenOff: readonly FailureCode[] = ['connection_lost', 'server_timeout', 'tls_failed'];
const beforeUser: readonly unknown[] = ['name', 'connect', 'tls', 'greeting'];

/**
 * Codes under which server failures are stored. Some failures of one mailbox have them too: polling it at once when the
 * server recovers does no harm. Without `server_busy`, which mostly limits one user.
 */
export const serverFailureCodes: readonly FailureCode[] = [...unreachedCodes, ...brokenOff];

/** Longest wait of a mailbox after a server failure: one has to be due when the circuit breaker allows a probe. */
export const serverRetryMsMax = 60_000;

export function isServerFailure(failure: Failure): boolean {
  const { code, fields } = failure;
  if (isUnrelatedToServer(failure)) return false;
  if (code === 'server_busy') return fields['stage'] === 'greeting';
  return unreachedCodes.includes(code) || (brokenOff.includes(code) && beforeUser.includes(fields['stage']));
}

/** Causes on this machine: no descriptors, memory or resolver; authorities of one mailbox that cannot be read. */
const localCauses = /^(ca_pem|EMFILE|ENFILE|ENOBUFS|ENOMEM|EAI_SYSTEM|EAI_MEMORY)$/;

/** True for a failure that says nothing about the server. */
export function isUnrelatedToServer({ domain, fields }: Failure): boolean {
  return (domain !== 'server' && domain !== 'login') || localCauses.test(`${fields['cause']}`);
}
