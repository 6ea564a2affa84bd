/**
 * How a connection to MySQL or MariaDB is made: its socket, its options, its login.
 *
 * Every option is named, so that no default of the driver decides. TLS checks certificate and host name.
 */

import { constants, createHash, publicEncrypt } from 'node:crypto';
import { connect, type OnReadOpts, type Socket } from 'node:net';
import type { AuthPlugin, ConnectionOptions } from 'mysql2';
import type { DatabaseConfig } from '../../../config/config.ts';
import type { SecretBytes } from '../../../secret/secret-bytes.ts';

export type MysqlConfig = Extract<DatabaseConfig, { kind: 'mysql' }>;

export type MysqlLimits = {
  readonly connectMs: number;
  readonly statementMs: number;
  /** For a change of a table, which can have to copy it. */
  readonly changeMs: number;
  /** After each so long without an answer to a statement its server is asked, on another connection, whether it lives. */
  readonly slowMs: number;
  /** A connection that nobody used for `idleMs` is asked whether it still works, and has `answerMs` to answer. */
  readonly idleMs: number;
  readonly answerMs: number;
  /** The longest time between two such questions. */
  readonly askMs: number;
};

/** For the INSERTs of every size; a server shared by many workers holds as many for each of their connections. */
const preparedMax = 40;
const readBytes = 65_536;

/** One server; the host is the name in its certificate too. */
export type MysqlPlace = { readonly host: string; readonly port: number; readonly socketPath: string | null };

/** At least one, in the order in which they are tried. */
export function placesOf({ hosts, socketPath }: MysqlConfig): readonly MysqlPlace[] {
  return hosts.map(({ host, port }) => ({ host, port, socketPath }));
}

/** Where a server is, for messages. */
export function nameOf({ host, port, socketPath }: MysqlPlace): string {
  return socketPath ?? `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * Reads into a buffer of ours, which is wiped each time: the one that the runtime reads into keeps what came last, and a
 * password may be in it. Under TLS the runtime decrypts into one of its own all the same.
 */
export function dial(place: MysqlPlace): Socket {
  const onread = {
    buffer: Buffer.alloc(readBytes),
    callback: (length: number, buffer: Uint8Array): boolean => {
      const chunk = Buffer.from(new ArrayBuffer(length));
      chunk.set(buffer.subarray(0, length));
      buffer.fill(0, 0, length);
      return socket.push(chunk);
    },
  };
  const socket: Socket =
    place.socketPath === null ? dialHost(place, onread) : connect({ path: place.socketPath, onread });
  return socket;
}

function dialHost({ host, port }: MysqlPlace, onread: OnReadOpts): Socket {
  const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000, onread });
  // TLS checks the certificate against this name. Node leaves it empty for an IP address, and would then take a
  // certificate for "localhost" from anybody whom the authority trusts.
  Reflect.set(socket, '_host', host);
  return socket;
}

export function connectionOptions(
  config: MysqlConfig,
  place: MysqlPlace,
  limits: MysqlLimits,
  socket: Socket,
): ConnectionOptions {
  const isPrivate = config.tls === 'verify' || place.socketPath !== null;
  const login: AuthPlugin = () => {
    const step = cachingSha2Login(config.password, isPrivate);
    return (data) => step(data);
  };
  return {
    host: place.host,
    port: place.port,
    stream: socket,
    user: config.user,
    database: config.database,
    connectTimeout: limits.connectMs,
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
    // Read by mysql2 as bytes; its type says text.
    ...(config.password === null ? {} : { passwordSha1: passwordSha1(config.password) as never }),
    authPlugins: { caching_sha2_password: login },
    ...(config.tls === 'verify' ? { ssl: tlsOptions(config.caPem) } : {}),
  };
}

function tlsOptions(caPem: string | null): NonNullable<ConnectionOptions['ssl']> {
  const options = { rejectUnauthorized: true, verifyIdentity: true, minVersion: 'TLSv1.2' };
  return caPem === null ? options : { ...options, ca: caPem };
}

/**
 * Login to MySQL and MariaDB without the password ever being a string.
 *
 * mysql2 wants a string and keeps it in every connection. It gets instead the SHA-1 of the password, which is all that
 * `mysql_native_password` needs, and a plugin of our own for `caching_sha2_password` (the default of MySQL 8 and
 * later), which borrows the bytes for the moment. The whole password leaves only through TLS, through a unix socket, or
 * encrypted with the server's RSA key. Other methods are refused: `sha256_password`, `mysql_clear_password`.
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

/** One login by `caching_sha2_password`. `isPrivate`: what we write cannot be read on its way. */
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
  bytes.set(password);
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
