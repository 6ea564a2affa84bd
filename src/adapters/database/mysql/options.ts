/**
 * Connection options for mysql2: server address, socket, TLS and limits; the login is that of login.ts.
 *
 * Every option is set, so that no default of the driver decides. TLS verifies certificate and host name; a
 * pinned certificate is compared in their place (certificate.ts).
 */
import { connect, type OnReadOpts, type Socket } from 'node:net';
import type { ConnectionOptions } from 'mysql2';
import type { DatabaseConfig } from '../../../config/config.ts';
import { urlHost } from '../../../config/machine.ts';
import { copySecret } from '../../../secret/secret-bytes.ts';
import type { MysqlLogin } from './login.ts';

export type MysqlConfig = Extract<DatabaseConfig, { kind: 'mysql' }>;

export type MysqlLimits = {
  readonly connectTimeoutMs: number;
  readonly statementTimeoutMs: number;
  /** For DDL, which may copy a table. */
  readonly schemaChangeTimeoutMs: number;
  /**
   * A statement without an answer for this long starts a liveness probe of its server, and again after each such
   * time.
   */
  readonly probeAfterMs: number;
  /** A connection idle for this long is pinged before use. */
  readonly pingAfterIdleMs: number;
  readonly pingTimeoutMs: number;
  /** The longest time between two pings of a connection. */
  readonly pingIntervalMs: number;
};

/** Enough for the INSERTs of every size; the server holds as many per connection of each worker. */
const preparedMax = 40;
const readBytes = 65_536;

/** Address of a server; its certificate must name `host`. */
export type MysqlServer = { readonly host: string; readonly port: number; readonly socketPath: string | null };

/** The configured servers, at least one, in failover order. */
export function serversOf({ hosts, socketPath }: MysqlConfig): readonly MysqlServer[] {
  return hosts.map(({ host, port }) => ({ host, port, socketPath }));
}

/** `host:port` or the path of the socket, for messages. */
export function serverName({ host, port, socketPath }: MysqlServer): string {
  return socketPath ?? `${urlHost(host)}:${port}`;
}

/**
 * Reads into one buffer that is wiped after each read: the runtime's own read buffer would retain the last data, and a
 * password may be in it. Under TLS the runtime decrypts into a buffer of its own all the same.
 */
export function openSocket(server: MysqlServer): Socket {
  const onread = {
    buffer: Buffer.alloc(readBytes),
    callback: (length: number, buffer: Uint8Array): boolean => {
      const chunk = Buffer.from(new ArrayBuffer(length));
      copySecret(buffer.subarray(0, length), chunk);
      buffer.fill(0, 0, length);
      return socket.push(chunk);
    },
  };
  const socket: Socket =
    server.socketPath === null ? dialHost(server, onread) : connect({ path: server.socketPath, onread });
  return socket;
}

function dialHost({ host, port }: MysqlServer, onread: OnReadOpts): Socket {
  const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000, onread });
  // TLS checks the certificate against this name. Node leaves it empty for an IP address, and would then accept any
  // certificate of the authority for "localhost".
  Reflect.set(socket, '_host', host);
  return socket;
}

export function connectionOptions(
  config: MysqlConfig,
  server: MysqlServer,
  limits: MysqlLimits,
  socket: Socket,
  login: MysqlLogin,
): ConnectionOptions {
  return {
    host: server.host,
    port: server.port,
    stream: socket,
    user: config.user,
    database: config.database,
    connectTimeout: limits.connectTimeoutMs,
    charset: 'UTF8MB4_UNICODE_CI',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    decimalNumbers: true,
    multipleStatements: false,
    // A server must not ask for files of this machine.
    flags: ['-LOCAL_FILES'],
    enableCleartextPlugin: false,
    trace: false,
    maxPreparedStatements: preparedMax,
    ...login.options,
    ...(config.tls === 'verify' ? { ssl: tlsOptions(config) } : {}),
  };
}

/** A new object each time, so that no TLS session is resumed: its certificate would not be shown. */
function tlsOptions({ caPem, fingerprint }: MysqlConfig): NonNullable<ConnectionOptions['ssl']> {
  const isPinned = fingerprint !== null;
  const options = { rejectUnauthorized: !isPinned, verifyIdentity: !isPinned, minVersion: 'TLSv1.2' };
  return caPem === null ? options : { ...options, ca: caPem };
}
