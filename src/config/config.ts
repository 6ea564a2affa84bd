/**
 * Validated configuration: one frozen value, in milliseconds, bytes and absolute paths.
 *
 * `load.ts` reads it, `schema.ts` defines its keys, `derive.ts` converts them.
 */
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { OAuthProvider } from './oauth-provider.ts';

/** The database. The password of a MySQL URL is moved into bytes while it is parsed. */
export type DatabaseConfig =
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
      readonly kind: 'mysql';
      /** At least one, in the order of failover. */
      readonly hosts: readonly { readonly host: string; readonly port: number }[];
      /** Path of a unix socket instead of the host, or null. */
      readonly socketPath: string | null;
      readonly user: string;
      readonly password: SecretBytes | null;
      readonly database: string;
      /**
       * `verify`: TLS with certificate and host name checked, or the pinned certificate. `off`: plain text (default to
       * loopback and sockets).
       */
      readonly tls: 'verify' | 'off';
      /** Authorities (PEM) to trust instead of the system's, or null. */
      readonly caPem: string | null;
      /** Pinned certificate of each host: its SHA-256, 64 lower-case hex digits, or null. */
      readonly fingerprint: string | null;
      /** RSA public key of the server (PEM), to which alone the password is encrypted without TLS, or null. */
      readonly serverKeyPem: string | null;
      readonly connectionsMax: number;
    };

/** TCP, or a unix socket whose file belongs to `group` (a name or number; null: the one of the process). */
export type ListenAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string; readonly group: string | null };

/** What a login to MySQL uses, and a reload may change. */
export type DatabaseLogin = Pick<
  Extract<DatabaseConfig, { kind: 'mysql' }>,
  'password' | 'tls' | 'caPem' | 'fingerprint' | 'serverKeyPem'
>;

/** Listen address, TLS and proxies of the admin page. */
export type AdminConfig = ListenAddress & {
  /**
   * Files (PEM) of the certificate chain and its key, read when needed and again when they change; null: plain HTTP.
   */
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | null;
  /**
   * Addresses of reverse proxies: only they may connect, X-Forwarded-For is trusted from them. Empty: no proxy, or only
   * the one at the unix socket.
   */
  readonly proxies: readonly string[];
  /** Origin that browsers use, as `https://tickets.example.org`; null: the host of the listen address. */
  readonly origin: string | null;
  /** A session ends after this time without a request. */
  readonly sessionTimeoutMs: number;
};

export type Config = {
  readonly dataDir: string;
  readonly database: DatabaseConfig;
  readonly migrateOnStart: boolean;
  /** File of the passphrase of a protected key file, read when needed; null: none. */
  readonly encryption: { readonly passphraseFile: string | null };
  /** Providers of OAuth 2, by the order of the file. */
  readonly oauth: readonly OAuthProvider[];
  /** null: no health endpoints. */
  readonly http: (ListenAddress & { readonly hosts: readonly string[] }) | null;
  /** null: no admin page. */
  readonly admin: AdminConfig | null;
  readonly log: { readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' };
  readonly poll: {
    readonly intervalMs: number;
    /** Limits of concurrent polls, in total and per mail host. */
    readonly concurrencyMax: number;
    readonly concurrencyPerHostMax: number;
    readonly leaseMs: number;
    readonly connectTimeoutMs: number;
    readonly commandTimeoutMs: number;
    /** Longest wait after consecutive failures. */
    readonly backoffMsMax: number;
    /** Consecutive refused logins after which a mailbox is suspended for `loginSuspendMs`, or until its row changes. */
    readonly loginFailuresMax: number;
    readonly loginSuspendMs: number;
  };
  /** Limits of connections in IDLE, in total and per mail host; 0: none. */
  readonly idle: { readonly connectionsMax: number; readonly connectionsPerHostMax: number };
  readonly message: {
    /** A larger message is not downloaded: it is quarantined with its headers. */
    readonly sizeBytesMax: number;
    /** Limits of one batch, and so of one transaction. */
    readonly batchMessagesMax: number;
    readonly batchBytesMax: number;
    readonly parseTimeoutMs: number;
    readonly parseMemoryMb: number;
    readonly parseThreads: number;
  };
  /** Messages of one sender in one mailbox within an hour; further ones are quarantined. null: any number. */
  readonly limits: {
    readonly senderPerHourMax: number | null;
    /** Exempt From addresses, lower case. */
    readonly senderExempt: readonly string[];
  };
  /** A reply that arrives this long after its ticket was closed opens a new one. null: never. */
  readonly tickets: { readonly reopenMs: number | null };
  readonly raw: { readonly retentionDays: number };
  readonly shutdown: { readonly timeoutMs: number };
  /** Distinguishes workers that share a data folder; '' for a single one. */
  readonly worker: { readonly name: string };
};
