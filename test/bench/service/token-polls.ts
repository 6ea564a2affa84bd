/**
 * `token-polls`: what an empty poll costs that signs in with an access token, beside one with a password.
 *
 * Encryption is on, so that both are opened for each login. Two mailboxes with passwords and one of an application's
 * grant take turns in one process; the two with passwords differ by the noise alone. The mail server checks the tokens
 * itself (JWT). Fails with what the process printed.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startProvider, type TestProvider } from '../../support/oauth/provider.ts';
import { runMeasured } from '../../support/processes/child.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import type { TurnsAnswer, TurnsOrder } from '../ingest/polls-in-turns.ts';
import { addMailboxes, mailboxOn } from '../many-mailboxes.ts';
import { enable, openSetting, type Setting } from '../setting.ts';
import { spread } from './fleet.ts';

export type TokenPollsOptions = {
  readonly mariadb: Mariadb | null;
  /** Polls of each mailbox in one run, after a sixth of that for warming up. */
  readonly polls: number;
  readonly runs: number;
  readonly progress: (line: string) => void;
};

export type TokenPolls = {
  readonly passwordCpuMs: number;
  readonly tokenCpuMs: number;
  readonly passwordWallMs: number;
  readonly tokenWallMs: number;
  readonly cpuRatio: number;
  /** Of the two mailboxes with passwords. */
  readonly noise: number;
};

export type TokenPollsReport = { readonly runs: readonly TokenPolls[]; readonly tokenRequests: number };

const pollsFile = join(import.meta.dirname, '../ingest/polls-in-turns.ts');
const names = ['first-password', 'token', 'second-password'] as const;
/** As long as real ones: a short password is not searched for in what the server sends. */
const password = Buffer.from('correct-horse-battery-staple');
const warmUpShare = 1 / 6;

export async function tokenPollsRun(options: TokenPollsOptions): Promise<TokenPollsReport> {
  const { mariadb, polls, runs, progress } = options;
  await using provider = await startProvider({ tokenFormat: 'jwt' });
  await using dovecot = await startDovecot({ tokens: { mode: 'local', provider }, password });
  await using setting = await openSetting(mariadb);
  const file = await addThree(setting, dovecot, provider);
  const order: TurnsOrder = { mailboxes: names, warmUps: Math.ceil(polls * warmUpShare), polls };
  const env = { ...setting.env, TICKETMAILD_CONFIG: file };
  const results: TokenPolls[] = [];
  for (let run = 1; run <= runs; run += 1) {
    const { stdout } = await runMeasured([pollsFile], { env, input: JSON.stringify(order) });
    const figures = figuresOf(JSON.parse(stdout) as TurnsAnswer);
    results.push(figures);
    progress(`run ${run} of ${runs}: ratio ${figures.cpuRatio.toFixed(3)}, noise ${figures.noise.toFixed(3)}`);
  }
  return { runs: results, tokenRequests: await provider.count('client_credentials 200') };
}

/** The configuration file. */
async function addThree(setting: Setting, dovecot: Dovecot, provider: TestProvider): Promise<string> {
  const rows = names.map((name) => mailboxOn(dovecot, 'implicit', name, password));
  for (const { user } of rows) await dovecot.createFolder(user, 'INBOX');
  await addMailboxes(setting.databaseUrl, rows);
  const token = "auth = 'oauth', grant_name = 'app', password = '', ca_pem = NULL";
  await runSql(setting.databaseUrl, `UPDATE mailboxes SET ${token} WHERE name = 'token'`);
  await setting.succeed(enable);
  await spread(setting, 1);
  const file = join(setting.folder, 'ticketmaild.toml');
  const lines = [
    '[oauth.app]',
    'kind = "oidc"',
    'flow = "application"',
    'client_id = "test-app-key"',
    `issuer = ${JSON.stringify(provider.issuer)}`,
    `ca_file = ${JSON.stringify(provider.caFile)}`,
    `private_key_file = ${JSON.stringify(provider.appKeyFile)}`,
    `imap_hosts = ["${dovecot.host}:${dovecot.tlsPort}"]`,
    'scopes = ["mail.app"]',
    'mailboxes = ["*@example.test"]',
  ];
  await writeFile(file, lines.join('\n'));
  return file;
}

function figuresOf({ cpuMs, wallMs }: TurnsAnswer): TokenPolls {
  const [firstMs = 0, tokenCpuMs = 0, secondMs = 0] = cpuMs;
  const [firstWallMs = 0, tokenWallMs = 0, secondWallMs = 0] = wallMs;
  const passwordCpuMs = (firstMs + secondMs) / 2;
  return {
    ...{ passwordCpuMs, tokenCpuMs, passwordWallMs: (firstWallMs + secondWallMs) / 2, tokenWallMs },
    cpuRatio: tokenCpuMs / passwordCpuMs,
    noise: Math.abs(firstMs / secondMs - 1),
  };
}
