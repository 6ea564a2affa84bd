/**
 * The whole program in this process: `compose` on a database of its own, with a mailbox on a test server.
 *
 * Everything is undone when it is disposed. Log lines are kept as objects.
 */
import { randomUUIDv7 } from 'node:crypto';
import { join } from 'node:path';
import { type App, compose } from '../../src/compose/compose.ts';
import type { Config, DatabaseConfig } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import type { PollObserver, RoundReport } from '../../src/ingest/poll/poll-context.ts';
import { createLog } from '../../src/log.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { allSettings } from '../../src/secret/settings-seal.ts';
import type { LogLine } from './processes/daemon.ts';
import type { Dovecot } from './servers/dovecot.ts';
import { temporaryFolder } from './temporary.ts';

export type TestApp = {
  readonly app: App;
  readonly config: Config;
  readonly lines: readonly LogLine[];
  /** One poll in the foreground. Throws its failure. */
  pollOnce(mailbox: Mailbox, stop: AbortSignal, observe?: PollObserver): Promise<RoundReport>;
  /** Adds an active mailbox on the test server for a new user; `given` overrides. */
  addMailbox(
    server: Pick<Dovecot, 'host' | 'tlsPort' | 'caPem'>,
    user: string,
    given?: Partial<Mailbox>,
  ): Promise<Mailbox>;
} & AsyncDisposable;

/** `database` null: the embedded default. `env` as in the environment, `TICKETMAILD_…`. */
export async function testApp(
  database: DatabaseConfig | null,
  env: Readonly<Record<string, string>> = {},
): Promise<TestApp> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('app'));
  const loaded = loadConfig({
    file: null,
    env: {
      TICKETMAILD_DATA_DIR: join(folder.path, 'data'),
      TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0',
      TICKETMAILD_ADMIN_LISTEN: 'off',
      // Tests send as much as they like.
      TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: '0',
      ...env,
    },
  });
  const config = database === null ? loaded : { ...loaded, database };
  const lines: LogLine[] = [];
  const log = createLog({
    level: 'debug',
    pretty: false,
    destination: { write: (text: string) => void lines.push(JSON.parse(text)) },
  });
  const app = building.use(await compose(config, log));
  await app.migrations.apply();
  const undo = building.move();
  return {
    app,
    config,
    lines,
    pollOnce: (mailbox, stop, observe) => pollOnce(app, mailbox, stop, observe),
    addMailbox: async (server, user, given = {}) => {
      const mailbox = mailboxOn(server, user, given);
      using password = SecretBytes.take(Buffer.from('pw'));
      await app.passwords.store(mailbox, password, allSettings, (prepared) =>
        app.store.addMailbox(mailbox, prepared, null, app.actor),
      );
      return mailbox;
    },
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** One poll in the foreground. Throws its failure. */
export async function pollOnce(
  app: Pick<App, 'pollOnce'>,
  mailbox: Mailbox,
  stop: AbortSignal,
  observe?: PollObserver,
): Promise<RoundReport> {
  const { failure, lastRound } = await app.pollOnce(mailbox, stop, observe);
  if (failure !== null) throw failure;
  if (lastRound === null) throw new Error('a poll succeeded without a round');
  return lastRound;
}

function mailboxOn(
  server: Pick<Dovecot, 'host' | 'tlsPort' | 'caPem'>,
  user: string,
  given: Partial<Mailbox>,
): Mailbox {
  return {
    id: randomUUIDv7(),
    name: `box-${user}`,
    connection: {
      host: server.host,
      port: server.tlsPort,
      tls: 'implicit',
      caPem: server.caPem,
      fingerprint: null,
      user,
      folder: 'INBOX',
      allowPlaintext: false,
    },
    start: { from: 'all' },
    postAction: { kind: 'seen' },
    pollIntervalMs: null,
    grant: null,
    addresses: [],
    state: 'active',
    ...given,
  };
}
