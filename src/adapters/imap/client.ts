/**
 * imapflow client factory: sets every option explicitly, and a logger that captures refusals.
 *
 * imapflow uses a logger of its own when none is passed. The one passed here stores the last refusal, since several
 * methods return `false` for a NO and report the reason only there; reports a throttled command at once, which imapflow
 * would wait out silently for minutes; and drops the rest.
 */
import type { ImapFlowOptions } from 'imapflow';
import { isLoopback } from '../../config/machine.ts';
import { Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { Credential } from '../../ingest/ports.ts';
import { isThrottled, refusalIn } from './errors.ts';
import { lineBytesMax, searchBytesMax } from './limits.ts';
import { ImapClient, type LoginEvents } from './login.ts';
import type { ServerRefusal } from './throttling.ts';
import type { SocketTransport } from './transport.ts';

export type ImapOptions = {
  /** For DNS, TCP and TLS together, and again for the greeting. */
  readonly connectTimeoutMs: number;
  /** Longest silence of the server during a command. */
  readonly commandTimeoutMs: number;
  /** Size limit of a message; the announcement of a larger literal closes the connection. */
  readonly literalBytesMax: number;
};

const framingBytesMax = 1024 * 1024;
/** Of one response; SEARCH is not parsed into tokens. A folder with some thousand keywords is within it. */
const tokensMax = 4000;
/** Longest delay of a timer: disables imapflow's own watchdog, which would also close an idle session. */
const timerMaxMs = 2 ** 31 - 1;

export type ClientHandle = { readonly imap: ImapClient; readonly lastRefusal: () => ServerRefusal | null };

/** Events of a client beside the results of its methods. */
export type ClientEvents = LoginEvents & {
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
  // Without `trace`, `debug` and `info` methods imapflow formats no messages for them, which saves time for every
  // message.
  const logger = { warn, error: drop, fatal: drop } as unknown as NonNullable<ImapFlowOptions['logger']>;
  return { logger, lastRefusal: () => last };
}

/** Throws `plaintext_refused` when the credential would cross a network unencrypted without permission. */
export function checkPlaintext({ tls, host, allowPlaintext }: Connection): void {
  if (tls === 'none' && !allowPlaintext && !isLoopback(host))
    throw new Failure('plaintext_refused', 'The connection would be unencrypted.', { fields: { host } });
}

/** An unconnected client. */
export function newClient(
  connection: Connection,
  credential: Credential,
  transport: SocketTransport,
  options: ImapOptions,
  events: ClientEvents,
): ClientHandle {
  const { logger, lastRefusal } = refusalLogger(events.throttled);
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
    // Some servers announce IMAP4rev2 with a faulty SEARCH; nothing here needs it.
    disableIMAP4rev2: true,
    qresync: false,
    verifyOnly: false,
    includeMailboxes: false,
    maxLockHoldTime: false,
    idHashAlgorithm: 'sha256',
    connectionTimeout: options.connectTimeoutMs,
    greetingTimeout: options.connectTimeoutMs,
    socketTimeout: timerMaxMs,
    maxLineLength: searchBytesMax + lineBytesMax,
    maxLiteralSize: options.literalBytesMax,
    maxResponseSize: Math.max(searchBytesMax, options.literalBytesMax) + framingBytesMax,
    maxResponseTokens: tokensMax,
  };
  return { imap: new ImapClient(flow, connection.user, credential, events), lastRefusal };
}
