/**
 * Connection options for mysql2: server address, socket, TLS and login without the password as a string.
 *
 * Every option is set, so that no default of the driver decides. TLS verifies certificate and host name.
 */
import { constants, createHash, publicEncrypt } from 'node:crypto';
import { connect, type OnReadOpts, type Socket } from 'node:net';
import type { AuthPlugin, ConnectionOptions } from 'mysql2';
import type { DatabaseConfig } from '../../../config/config.ts';
import { urlHost } from '../../../config/machine.ts';
import { copySecret, type SecretBytes } from '../../../secret/secret-bytes.ts';

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
): ConnectionOptions {
  const isPrivate = config.tls === 'verify' || server.socketPath !== null;
  const login: AuthPlugin = () => {
    const step = cachingSha2Login(config.password, isPrivate);
    return (data) => step(data);
  };
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
    trace: false,
    maxPreparedStatements: preparedMax,
    // mysql2 reads it as bytes; its type declares a string.
    ...(config.password === null ? {} : { passwordSha1: passwordSha1(config.password) as never }),
    authPlugins: { caching_sha2_password: login },
    ...(config.tls === 'verify' ? { ssl: tlsOptions(config.caPem) } : {}),
  };
}

function tlsOptions(caPem: string | null): NonNullable<ConnectionOptions['ssl']> {
  const options = { rejectUnauthorized: true, verifyIdentity: true, minVersion: 'TLSv1.2' };
  return caPem === null ? options : { ...options, ca: caPem };
}

/*
 * Login. mysql2 wants the password as a string and stores it in every connection. It gets instead the SHA-1 of the
 * password, which is all that `mysql_native_password` needs, and the plugin below for `caching_sha2_password` (the
 * default since MySQL 8), which borrows the bytes for one login. The whole password leaves only through TLS, through a
 * unix socket, or encrypted with the server's RSA key. Other methods are refused: `sha256_password`,
 * `mysql_clear_password`.
 */

const requestServerKey = Buffer.from([2]);
const fastLoginDone = 3;
const fullLoginWanted = 4;
const scrambleBytes = 20;

/** SHA-1 of the password; empty when there is none. */
export function passwordSha1(password: SecretBytes): Buffer {
  return password.use((bytes) => createHash('sha1').update(bytes).digest());
}

type LoginStep = (data: Buffer) => Buffer | null;

/** One login by `caching_sha2_password`. `isPrivate`: the transport is encrypted or local. */
export function cachingSha2Login(password: SecretBytes | null, isPrivate: boolean): LoginStep {
  let scramble: Buffer | null = null;
  let keyWanted = false;
  return (data) => {
    if (scramble === null) {
      scramble = Buffer.from(data.subarray(0, scrambleBytes));
      return withPassword(password, (bytes) => token(bytes, scramble ?? data));
    }
    if (keyWanted) return withPassword(password, (bytes) => encrypted(bytes, scramble ?? data, data));
    if (data[0] === fastLoginDone) return null;
    if (data[0] !== fullLoginWanted) throw new Error('The server sent an unknown step of caching_sha2_password');
    if (isPrivate) return withPassword(password, terminated);
    keyWanted = true;
    return requestServerKey;
  };
}

function withPassword(password: SecretBytes | null, make: (bytes: Uint8Array) => Buffer): Buffer {
  return password === null || password.length === 0 ? Buffer.alloc(0) : password.use(make);
}

/** SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble). */
function token(password: Uint8Array, scramble: Buffer): Buffer {
  const first = createHash('sha256').update(password).digest();
  const second = createHash('sha256').update(first).digest();
  const third = createHash('sha256').update(second).update(scramble).digest();
  return Buffer.from(first.map((byte, at) => byte ^ (third[at] ?? 0)));
}

function terminated(password: Uint8Array): Buffer {
  const bytes = Buffer.alloc(password.length + 1);
  copySecret(password, bytes);
  return bytes;
}

function encrypted(password: Uint8Array, scramble: Buffer, serverKeyPem: Buffer): Buffer {
  const masked = terminated(password);
  for (let at = 0; at < masked.length; at += 1) masked[at] = (masked[at] ?? 0) ^ (scramble[at % scramble.length] ?? 0);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const result = publicEncrypt({ key: serverKeyPem, padding, oaepHash: 'sha1' }, masked);
  masked.fill(0);
  return result;
}
