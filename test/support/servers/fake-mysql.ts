/**
 * Hostile MySQL server: speaks the handshake (protocol version 10), asks for the login that a plan names, and records.
 *
 * Any program can be this one on a port that the real server left. It offers TLS where the plan has a certificate.
 * Every byte received is kept, and what was encrypted to its own RSA key is decrypted: `learned` is all that it knows
 * afterwards.
 */
import { constants, generateKeyPairSync, type KeyObject, privateDecrypt } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

export type FakeMysqlPlan = {
  /** The method of the greeting. */
  readonly greeting?: string;
  /** The method that it switches to after the first answer; null: it accepts that answer. */
  readonly switchTo: string | null;
  /** The number and text of an error with which it answers the login. */
  readonly error?: readonly [number, string];
  /** The file that it asks for in answer to every statement (LOAD DATA LOCAL); null: it answers OK. */
  readonly wantedFile?: string | null;
  /** It offers TLS with this certificate and key (PEM). */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** The method that it switches to in plain text, in one write with the greeting: before any TLS. */
  readonly switchBeforeTls?: string;
};

export type FakeMysql = AsyncDisposable & {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly publicKeyPem: string;
  plan: FakeMysqlPlan;
  /** Logins begun, and logins in which the client sent nothing that the server could refuse. */
  logins(): number;
  /** The payloads of each packet received so far, statements included. */
  received(): readonly Buffer[];
  /** True when `secret` is in what was received, or in a decryption of it. */
  learned(secret: string): boolean;
};

const scramble = Buffer.from('abcdefghijklmnopqrst', 'latin1');
const ok = Buffer.from([0, 0, 0, 2, 0, 0, 0]);
const fullLogin = Buffer.from([1, 4]);

const capability = {
  longPassword: 0x1,
  connectWithDatabase: 0x8,
  localFiles: 0x80,
  protocol41: 0x200,
  tls: 0x800,
  transactions: 0x2000,
  secureConnection: 0x8000,
  pluginAuth: 0x80000,
  lengthEncodedAuth: 0x200000,
};
const capabilities = Object.values(capability).reduce((all, one) => all | one, 0);
const tlsRequestLength = 32;
const fillerOffset = 9;

/** Listens on 127.0.0.1, or on the unix socket `path`. */
export async function startFakeMysql(
  plan: FakeMysqlPlan,
  listenOn: { port?: number; path?: string } = {},
): Promise<FakeMysql> {
  const keys = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const publicKeyPem = keys.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const sockets = new Set<Socket>();
  const received: Buffer[] = [];
  let logins = 0;
  const fake = { plan };
  const listener = createServer((socket) => {
    sockets.add(socket);
    logins += 1;
    socket.on('error', () => socket.destroy());
    const { plan: current } = fake;
    const session = createSession(current, publicKeyPem);
    const early = current.switchBeforeTls;
    socket.write(
      Buffer.concat([
        packet(0, greeting(current)),
        ...(early === undefined ? [] : [packet(1, switchRequest(early)), packet(2, fullLogin)]),
      ]),
    );
    serve(socket, (payload) => {
      received.push(payload);
      return isTlsRequest(payload) && current.tls !== undefined ? current.tls : session(payload);
    });
  });
  listener.listen(
    listenOn.path === undefined ? { host: '127.0.0.1', port: listenOn.port ?? 0 } : { path: listenOn.path },
  );
  await once(listener, 'listening');
  const address = listener.address();
  const decrypted = (): readonly Buffer[] =>
    received.filter(({ length }) => length === 256).flatMap((payload) => decryptions(payload, keys.privateKey));
  return Object.assign(fake, {
    host: '127.0.0.1' as const,
    port: typeof address === 'object' && address !== null ? address.port : 0,
    publicKeyPem,
    logins: () => logins,
    received: () => received,
    learned: (secret: string) => [Buffer.concat(received), ...decrypted()].some((bytes) => bytes.includes(secret)),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  });
}

/** Protocol::SSLRequest: capabilities, packet size, character set, and zeros in place of user and response. */
export function isTlsRequest(payload: Buffer): boolean {
  return payload.length === tlsRequestLength && payload.subarray(fillerOffset, 28).every((byte) => byte === 0);
}

type Answer = Buffer | NonNullable<FakeMysqlPlan['tls']> | null;

/** Answers each packet, or continues over TLS where the answer is a certificate. */
function serve(stream: Socket, answerTo: (payload: Buffer) => Answer): void {
  let pending = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      if (pending.length < 4) return;
      const length = pending.readUIntLE(0, 3);
      if (pending.length < 4 + length) return;
      const payload = Buffer.from(pending.subarray(4, 4 + length));
      const sequence = pending[3] ?? 0;
      pending = pending.subarray(4 + length);
      const answer = answerTo(payload);
      if (Buffer.isBuffer(answer)) stream.write(packet(sequence + 1, answer));
      else if (answer !== null) {
        // The start of the TLS handshake may have come along.
        serve(upgraded(stream, pending, answer), answerTo);
        return;
      }
    }
  });
}

function upgraded(stream: Socket, rest: Buffer, certificate: NonNullable<FakeMysqlPlan['tls']>): TLSSocket {
  stream.pause().removeAllListeners('data');
  if (rest.length > 0) stream.unshift(rest);
  const secure = new TLSSocket(stream, { isServer: true, ...certificate });
  secure.on('error', () => stream.destroy());
  return secure;
}

/** The answers to the packets of one connection. */
function createSession(plan: FakeMysqlPlan, publicKeyPem: string): (payload: Buffer) => Buffer | null {
  let answered = 0;
  let isFileOpen = false;
  return (payload) => {
    answered += 1;
    if (plan.error !== undefined) return errorPacket(...plan.error);
    if (answered === 1) return plan.switchTo === null ? ok : switchRequest(plan.switchTo);
    if (plan.switchTo !== null && answered <= 5) return loginStep(plan.switchTo, payload, answered, publicKeyPem);
    if (!plan.wantedFile) return ok;
    if (isFileOpen) {
      isFileOpen = payload.length > 0;
      return isFileOpen ? null : ok;
    }
    isFileOpen = true;
    return Buffer.concat([Buffer.from([0xfb]), Buffer.from(plan.wantedFile)]);
  };
}

/** Asks for all that the method can give, with its own key where a client wants one. */
function loginStep(method: string, payload: Buffer, step: number, publicKeyPem: string): Buffer {
  const wantsKey = payload.length === 1 && (payload[0] === 2 || payload[0] === 1);
  if (wantsKey) return Buffer.concat([Buffer.from([1]), Buffer.from(publicKeyPem)]);
  if (method === 'caching_sha2_password' && step === 2) return fullLogin;
  return ok;
}

/** Protocol::AuthSwitchRequest; a method without a name is the one-byte form of servers before 5.7. */
function switchRequest(method: string): Buffer {
  if (method === '') return Buffer.from([0xfe]);
  const data =
    method === 'dialog' ? Buffer.from('\u0004Password: ', 'latin1') : Buffer.concat([scramble, Buffer.from([0])]);
  return Buffer.concat([Buffer.from([0xfe]), Buffer.from(`${method}\0`), data]);
}

/** ERR_Packet with the SQL state 28000. */
function errorPacket(number: number, text: string): Buffer {
  return Buffer.concat([Buffer.from([0xff, number & 0xff, number >> 8]), Buffer.from(`#28000${text}`)]);
}

/** Protocol::HandshakeV10. */
function greeting({ greeting: method = 'caching_sha2_password', tls }: FakeMysqlPlan): Buffer {
  const offered = tls === undefined ? capabilities & ~capability.tls : capabilities;
  const low = Buffer.alloc(2);
  low.writeUInt16LE(offered & 0xffff);
  const high = Buffer.alloc(2);
  high.writeUInt16LE(offered >>> 16);
  return Buffer.concat([
    Buffer.from([10]),
    Buffer.from('8.4.0\0'),
    Buffer.from([7, 0, 0, 0]),
    scramble.subarray(0, 8),
    Buffer.from([0]),
    low,
    Buffer.from([255, 2, 0]),
    high,
    Buffer.from([21]),
    Buffer.alloc(10),
    scramble.subarray(8),
    Buffer.from(`\0${method}\0`),
  ]);
}

function packet(sequence: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUIntLE(payload.length, 0, 3);
  head[3] = sequence & 0xff;
  return Buffer.concat([head, payload]);
}

function decryptions(payload: Buffer, key: KeyObject): readonly Buffer[] {
  try {
    const plain = privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, payload);
    return [plain, Buffer.from(plain.map((byte, at) => byte ^ (scramble[at % scramble.length] ?? 0)))];
  } catch {
    return [];
  }
}
