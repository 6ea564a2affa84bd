/**
 * A mailbox as it is set up: where its server is, what is fetched, what is done afterwards, and how it fares.
 *
 * Plain values; times are milliseconds since 1970 (UTC), durations milliseconds.
 */
import type { SecretBytes } from '../secret/secret-bytes.ts';

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
  /** The addresses at which it gets its mail, lower-case; the user name where it is one and nothing else was told. */
  readonly addresses: readonly string[];
  /** `removing`: a removal was interrupted; it is ended by removing the mailbox again. */
  readonly state: 'active' | 'paused' | 'removing';
};

/** How a mailbox fares; shown by `mailbox list` and `/readyz`. */
export type MailboxHealth = {
  readonly nextPollAtMs: number | null;
  /** Failed polls in a row; 0 after a success. */
  readonly failures: number;
  /** When the first of them was. */
  readonly failingSinceMs: number | null;
  /** Refused logins in a row; from `[poll] login_refusals_max` on it is left alone for long. */
  readonly loginRefusals: number;
  readonly lastSuccessAtMs: number | null;
  readonly lastError: {
    readonly code: string;
    readonly message: string;
    readonly hint: string;
    readonly atMs: number;
  } | null;
  readonly cursor: Cursor | null;
  /** How its password is stored; `keyId` is the column beside it, null where that is empty. */
  readonly password: { readonly form: 'plain' | 'sealed'; readonly keyId: string | null };
};

/** True for a row that somebody else wrote with a value that is not allowed: it is listed as paused, with what is wrong. */
export function isInvalid({ health }: { readonly health: MailboxHealth }): boolean {
  return health.lastError?.code === 'mailbox_invalid';
}

/**
 * A password as it is read, with the revision of the switch in the same query (null: the switch row is gone). The form is
 * the column `password_form`, never guessed from the bytes.
 */
export type StoredPassword = {
  readonly form: 'plain' | 'sealed';
  readonly bytes: Uint8Array;
  readonly switchRevision: number | null;
  /** Of the same row: where it is to be sent. */
  readonly connection: Omit<Connection, 'tls' | 'folder'> & { readonly tls: string };
};

/**
 * A password as it is to be stored, in the form that the switch asked for at this revision (0: there is no row). It is
 * stored at no other. `sealed` is a JWE in ASCII.
 */
export type NewPassword = { readonly switchRevision: number } & (
  | { readonly form: 'plain'; readonly password: SecretBytes }
  | { readonly form: 'sealed'; readonly sealed: Uint8Array; readonly keyId: string }
);

/** Who changes something, for the audit table: `user@host`, and the host alone. */
export type Author = { readonly who: string; readonly host: string };

/** UIDVALIDITY and the last handled UID in it (RFC 9051 section 2.3.1.1). */
export type Cursor = { readonly uidValidity: number; readonly uid: number };
