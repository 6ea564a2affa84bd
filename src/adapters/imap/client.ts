/**
 * Builds the imapflow client of one connection. Every option is set here, none is left to a default of the library.
 *
 * Its own logger is never used (passing none would switch it on): the logger given keeps the last refusal, because
 * several methods answer a NO with `false` and say why only there, tells at once of a throttled command, which imapflow
 * would wait out for minutes without a word, and drops the rest.
 */
import type { ImapFlowOptions } from 'imapflow';
import { isLoopback } from '../../config/machine.ts';
import { Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { isThrottled, refusalIn } from './errors.ts';
import { ImapClient } from './login.ts';
import type { ServerRefusal } from './throttling.ts';
import type { SocketTransport } from './transport.ts';

export type ImapOptions = {
  /** For name, TCP and TLS together, and once more for the greeting. */
  readonly connectTimeoutMs: number;
  /** How long the server may be silent during a command. */
  readonly commandTimeoutMs: number;
  /** The largest mail that is taken; a server that announces a larger one loses the connection. */
  readonly literalBytesMax: number;
};

/** A SEARCH answer is one line: 200,000 UIDs are about 2 MB. */
export const lineBytesMax = 64 * 1024 * 1024;
const framingBytesMax = 1024 * 1024;
/** The longest delay of a timer: the library's own watchdog would also end a session that rests between commands. */
const timerMaxMs = 2 ** 31 - 1;

export type ClientHandle = { readonly imap: ImapClient; readonly lastRefusal: () => ServerRefusal | null };

/** What a client tells beside the results of its methods. */
export type ClientEvents = {
  /** The login begins. */
  beforeLogin(): void;
  /** A command was throttled; called before imapflow begins to wait. */
  throttled(refusal: ServerRefusal): void;
};

function refusalLogger(throttled: ClientEvents['throttled']): {
  logger: NonNullable<ImapFlowOptions['logger']>;
  lastRefusal: () => ServerRefusal | null;
} {
  let last: ServerRefusal | null = null;
  const warn = (entry: unknown): void => {
    const refusal = typeof entry === 'object' && entry !== null && 'err' in entry ? refusalIn(entry.err) : null;
    if (refusal === null) return;
    last = refusal;
    if (isThrottled((entry as { err: unknown }).err)) throttled(refusal);
  };
  const drop = (): void => undefined;
  // Without methods for `trace`, `debug` and `info` nothing is composed for them, which costs time on every mail.
  const logger = { warn, error: drop, fatal: drop } as unknown as NonNullable<ImapFlowOptions['logger']>;
  return { logger, lastRefusal: () => last };
}

/** Throws `plaintext_refused` when the password would cross a network in clear and nobody allowed that. */
export function checkPlaintext({ tls, host, allowPlaintext }: Connection): void {
  if (tls === 'none' && !allowPlaintext && !isLoopback(host))
    throw new Failure('plaintext_refused', 'The connection would be unencrypted.', { fields: { host } });
}

/** A client that has not connected yet. */
export function newClient(
  connection: Connection,
  password: SecretBytes,
  transport: SocketTransport,
  options: ImapOptions,
  told: ClientEvents,
): ClientHandle {
  const { logger, lastRefusal } = refusalLogger(told.throttled);
  const flow: ImapFlowOptions = {
    host: connection.host,
    port: connection.port,
    transport,
    secure: connection.tls === 'implicit',
    doSTARTTLS: connection.tls === 'starttls',
    logger,
    logRaw: false,
    emitLogs: false,
    clientInfo: { name: 'ticketmaild', version: false, vendor: false, 'support-url': false },
    disableAutoIdle: true,
    disableCompression: true,
    disableBinary: true,
    disableAutoEnable: false,
    // Some servers announce revision 2 and answer SEARCH wrongly in it; nothing here needs it.
    disableIMAP4rev2: true,
    qresync: false,
    verifyOnly: false,
    includeMailboxes: false,
    maxLockHoldTime: false,
    idHashAlgorithm: 'sha256',
    connectionTimeout: options.connectTimeoutMs,
    greetingTimeout: options.connectTimeoutMs,
    socketTimeout: timerMaxMs,
    maxLineLength: lineBytesMax,
    maxLiteralSize: options.literalBytesMax,
    maxResponseSize: Math.max(lineBytesMax, options.literalBytesMax) + framingBytesMax,
    maxResponseTokens: 1_000_000,
  };
  return { imap: new ImapClient(flow, connection.user, password, told.beforeLogin), lastRefusal };
}
