/**
 * MySQL login (connection phase, authentication plugins): the whole password is sent to a proven server alone.
 *
 * mysql2 wants the password as a string and stores it in every connection. It gets instead the SHA-1 of the password,
 * which is all that `mysql_native_password` needs, and a plugin for `caching_sha2_password` (the default since MySQL
 * 8), which borrows the bytes for one login. Both begin with a challenge response. A listener in place of the server
 * can use that for one session at the real server, or guess passwords with it (fast hashes), so the password must be
 * long and random. Where the server then asks for the whole password, the channel decides (channel.ts); an RSA key
 * that the server sends is never used. Other methods are refused: `database_login_insecure` on an open channel, else
 * `database_login_unsupported`.
 */
import { constants, hash, publicEncrypt } from 'node:crypto';
import type { AuthPlugin, ConnectionOptions } from 'mysql2';
import { Failure } from '../../../errors.ts';
import { copySecret, type SecretBytes, secretBuffer } from '../../../secret/secret-bytes.ts';
import { recordForWipe } from '../sql/driver-buffers.ts';
import type { Channel } from './channel.ts';

export type LoginPorts = {
  /** `host:port` or the path of the socket, for messages. */
  readonly serverName: string;
  readonly password: SecretBytes | null;
  /** Called when the server asks for the whole password. */
  channel(): Channel;
};

/** One login; disposing wipes what was computed from the password. */
export type MysqlLogin = Disposable & {
  readonly options: Pick<ConnectionOptions, 'passwordSha1' | 'authPlugins'>;
};

/** Methods that receive the whole password. */
const revealing = ['mysql_clear_password', 'sha256_password', 'dialog', 'mysql_old_password'] as const;
/** Challenge responses that mysql2 lacks. */
const unsupported = ['client_ed25519', 'parsec', 'auth_gssapi_client'] as const;

export function createLogin(ports: LoginPorts): MysqlLogin {
  const secrets: Uint8Array[] = [];
  const own = <T extends Uint8Array>(bytes: T): T => {
    secrets.push(bytes);
    return bytes;
  };
  const refusing = [...revealing, ...unsupported].map((method): [string, AuthPlugin] => [
    method,
    () => () => {
      throw refusal(method, ports);
    },
  ]);
  let recorded: Disposable | null = null;
  const cachingSha2: AuthPlugin = ({ connection }) => {
    // mysql2 copies what it sends into a buffer of its own.
    recorded ??= recordForWipe(Reflect.get(connection, 'stream'));
    const step = cachingSha2Login(ports, own);
    return (data) => step(data);
  };
  return {
    options: {
      // mysql2 reads it as bytes; its type declares a string.
      ...(ports.password === null ? {} : { passwordSha1: own(passwordSha1(ports.password)) as never }),
      authPlugins: { ...Object.fromEntries(refusing), caching_sha2_password: cachingSha2 },
    },
    [Symbol.dispose]: () => {
      for (const bytes of secrets.splice(0)) bytes.fill(0);
      recorded?.[Symbol.dispose]();
    },
  };
}

function refusal(method: string, ports: LoginPorts): Failure {
  const channel = ports.channel();
  const isRevealing = (revealing as readonly string[]).includes(method);
  if (isRevealing && channel.kind !== 'private') return insecure(ports.serverName, method, channel);
  return new Failure(
    'database_login_unsupported',
    `The database at ${ports.serverName} asks for a login by ${method}, which is not supported.`,
    { fields: { cause: method } },
  );
}

function insecure(serverName: string, method: string, channel: Channel): Failure {
  const why = channel.kind === 'open' ? channel.why : 'the pinned key serves caching_sha2_password alone';
  const message = `The database at ${serverName} asks for the whole password (${method}), and nothing proves that it is the database: ${why}.`;
  return new Failure('database_login_insecure', message, { fields: { cause: method } });
}

const fastLoginDone = 3;
const fullLoginWanted = 4;
const scrambleBytes = 20;

/** SHA-1 of the password; empty when there is none. */
export function passwordSha1(password: SecretBytes): Buffer {
  return password.use((bytes) => hash('sha1', bytes, 'buffer'));
}

type LoginStep = (data: Buffer) => Buffer | null;

/** One login by `caching_sha2_password`. `own` receives each buffer that holds the whole password, to be wiped. */
export function cachingSha2Login(ports: LoginPorts, own: (bytes: Buffer) => Buffer): LoginStep {
  const { password, serverName } = ports;
  let scramble: Buffer | null = null;
  return (data) => {
    if (scramble === null) {
      const first = Buffer.from(data.subarray(0, scrambleBytes));
      scramble = first;
      return withPassword(password, (bytes) => token(bytes, first));
    }
    if (data[0] === fastLoginDone) return null;
    if (data[0] !== fullLoginWanted || data.length !== 1)
      throw new Error('The server sent an unknown step of caching_sha2_password');
    const salt = scramble;
    return withPassword(password, (bytes) => {
      const channel = ports.channel();
      if (channel.kind === 'open') throw insecure(serverName, 'caching_sha2_password', channel);
      return channel.kind === 'private' ? own(terminated(bytes)) : encrypted(bytes, salt, channel.serverKeyPem);
    });
  };
}

function withPassword(password: SecretBytes | null, make: (bytes: Uint8Array) => Buffer): Buffer {
  return password === null || password.length === 0 ? Buffer.alloc(0) : password.use(make);
}

/** SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble). */
function token(password: Uint8Array, scramble: Buffer): Buffer {
  const first = hash('sha256', password, 'buffer');
  const second = Buffer.concat([hash('sha256', first, 'buffer'), scramble]);
  const third = hash('sha256', second, 'buffer');
  const result = Buffer.from(first.map((byte, at) => byte ^ (third[at] ?? 0)));
  // The first digest is enough for a login at the real server.
  first.fill(0);
  return result;
}

function terminated(password: Uint8Array): Buffer {
  const bytes = secretBuffer(password.length + 1);
  copySecret(password, bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** RSA-OAEP (RFC 8017) of the password XOR the scramble, without asking the server for its key. */
function encrypted(password: Uint8Array, scramble: Buffer, serverKeyPem: string): Buffer {
  const masked = terminated(password);
  for (let at = 0; at < masked.length; at += 1) masked[at] = (masked[at] ?? 0) ^ (scramble[at % scramble.length] ?? 0);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  try {
    return publicEncrypt({ key: serverKeyPem, padding, oaepHash: 'sha1' }, masked);
  } finally {
    masked.fill(0);
  }
}
