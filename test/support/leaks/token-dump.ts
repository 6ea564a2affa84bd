/**
 * Copies of tokens, client secrets and private keys in a core dump of a process that requested them from a real
 * provider: 200 requests of each kind, or one consent of each way with the logins that prove
 * it.
 *
 * Searched: the first and the last 20 letters of every token that the provider issued, the same of its base64 in a
 * login, the client secret, lines of the keys' PEM text, and their secret numbers in both byte orders. The control
 * does the same by fetch, holds a key object, and must be found.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createProviderClient } from '../../../src/adapters/oauth/client.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { openInstance } from '../instance.ts';
import type { Consenting } from '../oauth/consenting-process.ts';
import { visitProvider } from '../oauth/person.ts';
import type { TestProvider } from '../oauth/provider.ts';
import { mask, type Renewing } from '../oauth/renewing-process.ts';
import { type SignInWay, signInAt } from '../oauth/terminal-person.ts';
import type { Dovecot } from '../servers/dovecot.ts';
import { endWithUs, runProgram } from '../servers/programs.ts';
import { temporaryFolder } from '../temporary.ts';
import { gcore, smallCore } from './memory-search.ts';

/** Hits in one core dump; `tokens`: answers of the provider that were searched for. */
export type TokenCopies = Readonly<
  Record<'tokens' | 'refresh' | 'access' | 'base64' | 'secret' | 'lines' | 'limbs' | 'der', number>
>;

export type TokenHandling = 'bytes' | 'fetch';

const childEnv = ({ caFile }: TestProvider) => ({ NODE_EXTRA_CA_CERTS: caFile, MALLOC_ARENA_MAX: '1' });

/** `times` renewals, and as many requests of an application by secret and by key, and of a service account. */
export async function copiesAfterRequests(
  provider: TestProvider,
  how: TokenHandling,
  times: number,
): Promise<TokenCopies> {
  const person = provider.settings();
  const masked = await firstRefreshToken(provider, person);
  const before = (await provider.report()).tokens.length - 1;
  const child = spawnNode('renewing-process.ts', [], childEnv(provider));
  const others = applications(provider);
  child.stdin?.write(`${JSON.stringify({ way: how, times, person, others, masked } satisfies Renewing)}\n`);
  return await copiesIn(child, provider, before);
}

const ways: readonly SignInWay[] = ['device', 'browser', 'paste'];

/** One consent of each way, encryption on, each proved by a login; the control only signs in. */
export async function copiesAfterConsents(
  { provider, dovecot }: { readonly provider: TestProvider; readonly dovecot: Dovecot },
  how: TokenHandling,
): Promise<TokenCopies> {
  await using instance = await openInstance();
  const configFile = join(instance.folder, 'ticketmaild.toml');
  await writeFile(configFile, configuration(provider, dovecot));
  for (const way of ways) await instance.app.store.addMailbox(mailboxOf(dovecot, way), null, null, instance.app.actor);
  const enabled = await instance.command('encryption', 'enable', '--accept-key-loss', '--backup-prepared');
  if (enabled.code !== 0) throw new Error('encryption could not be enabled');
  const before = (await provider.report()).tokens.length;
  const consenting: Consenting = { how, ways, provider: provider.settings() };
  const env = { ...instance.env, ...childEnv(provider), TICKETMAILD_CONFIG: configFile };
  const child = spawnNode('consenting-process.ts', [JSON.stringify(consenting)], env);
  const printed = collect(child);
  const ended = endOf(child, printed);
  for (const [index, way] of ways.entries()) {
    const terminal = {
      printed: () => printed().split('Open this address')[index + 1] ?? '',
      paste: (line: string) => void child.stdin?.end(`${line}\n`),
      browse: async (address: string) => void (await (await fetch(address)).text()),
    };
    const person = { provider, way: how === 'bytes' ? way : 'browser', user: `${way}@example.test` } as const;
    await Promise.race([signInAt(terminal, person), ended]);
  }
  return await copiesIn(child, provider, before);
}

/** A child that ends with us; its standard error is read where it prints for a person. */
function spawnNode(file: string, args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  const script = join(import.meta.dirname, '../oauth', file);
  const child = spawn(process.execPath, [...smallCore, script, ...args], { stdio: ['pipe', 'pipe', 'pipe'], env });
  endWithUs(child);
  return child;
}

function collect(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.on('data', (piece: Buffer) => {
    text += piece.toString();
  });
  return () => text;
}

/** Rejects with what it printed when it ends. */
function endOf(child: ChildProcess, printed: () => string): Promise<never> {
  const end = once(child, 'close').then(([code]) => Promise.reject(new Error(`it ended with ${code}: ${printed()}`)));
  end.catch(() => undefined);
  return end;
}

/**
 * Waits until the child says `done`, writes a core of it, and searches that for what the provider issued since. Lines
 * before it are what the commands print: a consent that is still being made holds its tokens rightly.
 */
async function copiesIn(child: ChildProcess, provider: TestProvider, before: number): Promise<TokenCopies> {
  const printed = collect(child);
  const ended = endOf(child, printed);
  await Promise.race([isDone(child), ended]);
  await using folder = await temporaryFolder('core');
  const core = await gcore(child.pid ?? 0, folder.path);
  child.kill('SIGKILL');
  await ended.catch(() => undefined);
  if (core === null) throw new Error('gcore of gdb is not installed');
  return await search(core, provider, (await provider.report()).tokens.slice(before));
}

async function isDone({ stdout }: ChildProcess): Promise<void> {
  if (stdout === null) throw new Error('the process has no output');
  for await (const line of createInterface({ input: stdout })) if (line === 'done') return;
  // It ended, which says more.
  await new Promise(() => undefined);
}

async function search(
  core: string,
  provider: TestProvider,
  tokens: readonly { readonly access: string; readonly refresh: string | null }[],
): Promise<TokenCopies> {
  const refresh = tokens.flatMap((token) => (token.refresh === null ? [] : piecesOf(token.refresh)));
  const secret = (await readFile(provider.clientSecretFile, 'utf8')).trim();
  const appKey = await readFile(provider.appKeyFile, 'utf8');
  const serviceKey: string = JSON.parse(await readFile(provider.serviceAccountFile, 'utf8')).private_key;
  const keys = keyPatterns([appKey, serviceKey]);
  return {
    tokens: tokens.length,
    refresh: await textCopies(core, refresh),
    access: await textCopies(
      core,
      tokens.flatMap((token) => piecesOf(token.access)),
    ),
    base64: await textCopies(
      core,
      tokens.flatMap((token) => base64PiecesOf(token.access)),
    ),
    secret: await textCopies(core, piecesOf(secret)),
    lines: await copies(core, keys.lines),
    limbs: await copies(core, keys.limbs),
    der: await copies(core, keys.der),
  };
}

const pieceLetters = 20;

function piecesOf(text: string): readonly string[] {
  return [text.slice(0, pieceLetters), text.slice(-pieceLetters)];
}

/** A token begins anywhere in the text that a login encodes. */
function base64PiecesOf(text: string): readonly string[] {
  return [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), Buffer.from(text)])
      .toString('base64')
      .slice(4, 4 + pieceLetters),
  );
}

/** Hits of any of the patterns, which hold no line end. */
async function textCopies(core: string, patterns: readonly string[]): Promise<number> {
  const script = 'LC_ALL=C grep -a -o -F -f - "$0" | wc -l';
  return Number(await runProgram('sh', ['-c', script, core], { input: `${patterns.join('\n')}\n` }));
}

const pieceBytes = 1 << 20;
const overlapBytes = 64;
const zeros = Buffer.alloc(pieceBytes + overlapBytes);

/** Hits of any of the patterns, of at most 64 bytes each. Pieces of zeros are skipped. */
async function copies(core: string, patterns: readonly Buffer[]): Promise<number> {
  await using file = await open(core);
  const buffer = Buffer.alloc(pieceBytes + overlapBytes);
  let count = 0;
  for (let offset = 0; ; offset += pieceBytes) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
    if (bytesRead === 0) return count;
    const piece = buffer.subarray(0, bytesRead);
    if (piece.equals(zeros.subarray(0, bytesRead))) continue;
    for (const pattern of patterns)
      for (let at = piece.indexOf(pattern); at >= 0 && at < pieceBytes; at = piece.indexOf(pattern, at + 1)) count += 1;
  }
}

type KeyPatterns = Readonly<Record<'lines' | 'limbs' | 'der', readonly Buffer[]>>;

/** Lines of the texts; 16 bytes from the middle of each secret number, as OpenSSL holds them in use, and as in DER. */
function keyPatterns(pems: readonly string[]): KeyPatterns {
  const der = pems.flatMap((pem) => {
    const jwk = createPrivateKey(pem).export({ format: 'jwk' });
    const numbers = [jwk.d, jwk.p, jwk.q, jwk.dp, jwk.dq, jwk.qi];
    return numbers.map((text) => Buffer.from(`${text}`, 'base64url').subarray(40, 56));
  });
  // The public part stands in the first lines.
  const lines = pems.flatMap((pem) => pem.trim().split('\n').slice(8, -1)).map((line) => Buffer.from(line));
  return { lines, limbs: der.map((bytes) => Buffer.from(bytes).reverse()), der };
}

const redirectUri = 'http://127.0.0.1:4711/oauth/callback';

async function firstRefreshToken(provider: TestProvider, person: OAuthProvider): Promise<readonly number[]> {
  const authorization = await createProviderClient({ clock: systemClock }).authorize(person, redirectUri, '');
  const ending = await visitProvider(authorization.url, 'ada@example.test', { caPem: provider.caPem });
  if (ending.kind !== 'address') throw new Error(ending.heading);
  const { refreshToken } = await authorization.finish(ending.answer, new AbortController().signal);
  return [...(refreshToken?.use((bytes) => bytes) ?? [])].map((byte) => byte ^ mask);
}

function applications(provider: TestProvider): readonly OAuthProvider[] {
  const withSecret = provider.settings({
    flow: 'application',
    name: 'secret',
    clientId: 'test-app-secret',
    credential: { kind: 'secret', file: provider.clientSecretFile },
  });
  return [
    withSecret,
    provider.settings({ flow: 'application', name: 'key' }),
    provider.settings({ flow: 'service_account', name: 'service' }),
  ];
}

function configuration(provider: TestProvider, dovecot: Dovecot): string {
  return [
    '[oauth.people]',
    'kind = "oidc"',
    'flow = "person"',
    `issuer = ${JSON.stringify(provider.issuer)}`,
    `ca_file = ${JSON.stringify(provider.caFile)}`,
    'client_id = "test-public"',
    'scopes = ["openid", "email", "offline_access", "mail"]',
    `imap_hosts = ["${dovecot.host}:${dovecot.tlsPort}"]`,
  ].join('\n');
}

function mailboxOf(dovecot: Dovecot, way: SignInWay): Mailbox {
  const user = `${way}@example.test`;
  return {
    ...{ id: crypto.randomUUID(), name: way, grant: way, addresses: [user], state: 'active', pollIntervalMs: null },
    ...{ start: { from: 'all' }, postAction: { kind: 'seen' } },
    connection: {
      ...{ host: dovecot.host, port: dovecot.tlsPort, tls: 'implicit', caPem: null, fingerprint: null },
      ...{ allowPlaintext: false, user, folder: 'INBOX' },
    },
  };
}
