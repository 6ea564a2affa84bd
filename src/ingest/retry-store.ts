/**
 * Retry port: a person's request to poll mailboxes at once, and how far that is.
 *
 * Every method may reject with a `Failure` of domain `database`, and rejects with nothing else.
 */
import type { AuditActor, Mailbox, MailboxHealth } from './model.ts';

/** `isRequested` until the poll begins, then `isPolling` until it ends. */
export type RetryProgress = Pick<MailboxHealth, 'lastSuccessAtMs' | 'lastError'> & {
  readonly isRequested: boolean;
  readonly isPolling: boolean;
};

export interface RetryStore {
  /**
   * Makes mailboxes due at once, which lets the circuit breaker of their server probe and IDLE begin again; one in IDLE
   * signs in again. Failures and refused logins stay counted. `host`: for the audit.
   */
  requestRetry(mailboxes: readonly Mailbox[], host: string | null, by: AuditActor): Promise<void>;
  /** By mailbox id; a removed one is left out. */
  retryProgress(mailboxIds: readonly string[]): Promise<ReadonlyMap<string, RetryProgress>>;
}
