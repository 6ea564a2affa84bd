/**
 * A mailbox as it is set up: where its server is, what is fetched, what is done afterwards, and how it fares.
 *
 * Plain values; times are milliseconds since 1970 (UTC), durations milliseconds.
 */

/** `implicit`: TLS from the first byte (RFC 8314). `starttls`: required upgrade. `none`: in clear. */
export type TlsMode = 'implicit' | 'starttls' | 'none';

/** How to reach a mail server; all that a probe needs beside the password. */
export type Connection = {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsMode;
  /** Certificates (PEM) to trust instead of the system's authorities; null for those. */
  readonly caPem: string | null;
  /** SHA-256 of the server's certificate, 64 lower-case hex digits; trusted alone, whatever its name or issuer. */
  readonly fingerprint: string | null;
  /** True when the password may cross the network in clear (`tls` is `none`, the host not this machine). */
  readonly allowPlaintext: boolean;
  readonly user: string;
  /** Folder name as people write it, in Unicode. */
  readonly folder: string;
};

/** Which mails count: those that arrive from `atMs` on, or all that are there. */
export type Start = { readonly from: 'all' } | { readonly from: 'time'; readonly atMs: number };

/** What is done to a mail on the server once it is committed here. */
export type AfterAction =
  | { readonly kind: 'seen' }
  | { readonly kind: 'move'; readonly folder: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'leave' };

export type Mailbox = {
  /** UUID (RFC 9562), text form. */
  readonly id: string;
  readonly name: string;
  readonly connection: Connection;
  readonly start: Start;
  readonly after: AfterAction;
  /** null: the configured default. */
  readonly pollIntervalMs: number | null;
  readonly state: 'active' | 'paused';
};

/** How a mailbox fares; shown by `mailbox list` and `/readyz`. */
export type MailboxHealth = {
  readonly nextPollAtMs: number | null;
  /** Failed polls in a row; 0 after a success. */
  readonly failures: number;
  readonly lastSuccessAtMs: number | null;
  readonly lastError: {
    readonly code: string;
    readonly message: string;
    readonly hint: string;
    readonly atMs: number;
  } | null;
  readonly cursor: Cursor | null;
};

/** How a password is stored. A sealed one begins its life with the key file; plain is what the helpdesk wrote. */
export type StoredPassword = { readonly form: 'plain' | 'sealed'; readonly bytes: Uint8Array };

/** UIDVALIDITY and the last handled UID in it (RFC 9051 section 2.3.1.1). */
export type Cursor = { readonly uidValidity: number; readonly uid: number };
