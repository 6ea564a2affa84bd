/**
 * The configuration: file and environment into one frozen value. The only reader of process.env.
 *
 * Strict: an unknown key or variable, a wrong type, an impossible value or combination is refused with
 * `config_invalid`, in one line that names file, line (or variable), key and what is allowed, never a secret.
 */
import type { SecretBytes } from '../secret/secret-bytes.ts';

/** Where the tables are. The password of a MySQL URL is taken out of it into bytes as it is read. */
export type DatabaseConfig =
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
      readonly kind: 'mysql';
      /** At least one, in the order in which they are tried. */
      readonly hosts: readonly { readonly host: string; readonly port: number }[];
      /** Path of a unix socket instead of the host, or null. */
      readonly socketPath: string | null;
      readonly user: string;
      readonly password: SecretBytes | null;
      readonly database: string;
      /** `verify`: TLS with the certificate and its host name checked. `off`: in clear (the default to loopback and sockets). */
      readonly tls: 'verify' | 'off';
      /** Authorities (PEM) to trust instead of the system's, or null. */
      readonly caPem: string | null;
      readonly connectionsMax: number;
    };

/** How the admin page is reached. */
export type AdminConfig = {
  readonly host: string;
  readonly port: number;
  /** Files (PEM) of the certificate chain and its key, read when they are needed and again when they change; null: HTTP. */
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | null;
  /** Addresses of proxies: only they may connect, and X-Forwarded-For is believed from them. Empty: there is none. */
  readonly proxies: readonly string[];
  /** The origin under which browsers reach it, as `https://desk.example.org`; null: by the name of the listening address. */
  readonly origin: string | null;
  /** A session ends when nothing is asked for so long. */
  readonly sessionTimeoutMs: number;
};

export type Config = {
  readonly dataDir: string;
  readonly database: DatabaseConfig;
  readonly migrateOnStart: boolean;
  /** Where the passphrase of a protected key file is; read when it is needed. null: nowhere. */
  readonly encryption: { readonly passphraseFile: string | null };
  /** null: no health endpoints. */
  readonly http: { readonly host: string; readonly port: number } | null;
  /** Where the admin page is served; null: nowhere. */
  readonly admin: AdminConfig | null;
  readonly log: { readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' };
  readonly poll: {
    readonly intervalMs: number;
    /** Polls at the same time, in all and per mail host. */
    readonly concurrencyMax: number;
    readonly concurrencyPerHostMax: number;
    readonly leaseMs: number;
    readonly connectTimeoutMs: number;
    readonly commandTimeoutMs: number;
    /** Longest wait after failures in a row. */
    readonly backoffMsMax: number;
    /** Refused logins in a row after which a mailbox is left alone for `loginSuspendMs`, or until its row changes. */
    readonly loginFailuresMax: number;
    readonly loginSuspendMs: number;
  };
  /** Connections that stay open to hear of new mail at once (IDLE), in all and per mail host; 0: none. */
  readonly idle: { readonly connectionsMax: number; readonly connectionsPerHostMax: number };
  readonly message: {
    /** A larger mail is not downloaded: it goes to quarantine with its headers. */
    readonly sizeBytesMax: number;
    /** Bounds of one window, and so of one transaction. */
    readonly batchMessagesMax: number;
    readonly batchBytesMax: number;
    readonly parseTimeoutMs: number;
    readonly parseMemoryMb: number;
    readonly parseThreads: number;
  };
  /** Mails of one sender in one mailbox within an hour; more are quarantined. null: any number. */
  readonly limits: {
    readonly senderPerHourMax: number | null;
    /** From addresses, lower-case, that it does not hold for. */
    readonly senderExempt: readonly string[];
  };
  /** An answer that comes so long after its ticket was closed opens a new one. null: never. */
  readonly tickets: { readonly reopenMs: number | null };
  readonly raw: { readonly retentionDays: number };
  readonly shutdown: { readonly timeoutMs: number };
  /** Tells workers that share a data folder apart; '' for the only one. */
  readonly worker: { readonly name: string };
};
