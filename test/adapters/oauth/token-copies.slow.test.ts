/**
 * No copy of a token, a client secret or a private key is left in a core dump after 200 requests of each kind.
 *
 * Searched: the first and the last 20 letters of every token that the provider issued, the client secret, lines of the
 * keys' PEM text, and their secret numbers in both byte orders. The control requests tokens by fetch, holds a
 * key object, and must be found.
 */
import { spawn } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createProviderClient } from '../../../src/adapters/oauth/client.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import { gcore, smallCore } from '../../support/leaks/memory-search.ts';
import { visitProvider } from '../../support/oauth/person.ts';
import { startProvider, type TestProvider } from '../../support/oauth/provider.ts';
import { mask, type Renewing } from '../../support/oauth/renewing-process.ts';
import { endWithUs, findProgram, runProgram } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const times = 200;
let provider: TestProvider;

beforeAll(async () => {
  provider = await startProvider();
});

afterAll(() => provider[Symbol.asyncDispose]());

const redirectUri = 'http://127.0.0.1:4711/oauth/callback';

async function firstRefreshToken(person: OAuthProvider): Promise<readonly number[]> {
  const authorization = await createProviderClient({ clock: systemClock }).authorize(person, redirectUri, '');
  const ending = await visitProvider(authorization.url, 'ada@example.test', { caPem: provider.caPem });
  if (ending.kind !== 'address') throw new Error(ending.heading);
  const { refreshToken } = await authorization.finish(ending.answer, new AbortController().signal);
  return [...(refreshToken?.use((bytes) => bytes) ?? [])].map((byte) => byte ^ mask);
}

/** A core dump of a process that requested tokens, and the tokens that it got. */
async function dumpAfter(way: Renewing['way'], others: readonly OAuthProvider[]) {
  const person = provider.settings();
  const masked = await firstRefreshToken(person);
  const before = (await provider.report()).tokens.length - 1;
  const script = join(import.meta.dirname, '../../support/oauth/renewing-process.ts');
  const child = spawn(process.execPath, [...smallCore, script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { NODE_EXTRA_CA_CERTS: provider.caFile, MALLOC_ARENA_MAX: '1' },
  });
  endWithUs(child);
  child.stdin.write(`${JSON.stringify({ way, times, person, others, masked } satisfies Renewing)}\n`);
  const ended = once(child, 'close').then(([code]) => Promise.reject(new Error(`the process ended with ${code}`)));
  await Promise.race([once(child.stdout, 'data'), ended]);
  const folder = await temporaryFolder('core');
  const core = await gcore(child.pid ?? 0, folder.path);
  child.kill('SIGKILL');
  await ended.catch(() => undefined);
  if (core === null) throw new Error('no core dump');
  return {
    core,
    tokens: (await provider.report()).tokens.slice(before),
    [Symbol.asyncDispose]: folder[Symbol.asyncDispose],
  };
}

const pieceLetters = 20;

function piecesOf(text: string): readonly string[] {
  return [text.slice(0, pieceLetters), text.slice(-pieceLetters)];
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

test.skipIf(findProgram('gcore') === null)(
  'a core dump holds no secret after 200 requests of each kind; with fetch it does',
  { timeout: 300_000 },
  async () => {
    const secret = (await readFile(provider.clientSecretFile, 'utf8')).trim();
    const appKey = await readFile(provider.appKeyFile, 'utf8');
    const serviceKey: string = JSON.parse(await readFile(provider.serviceAccountFile, 'utf8')).private_key;
    const withSecret = provider.settings({
      flow: 'application',
      name: 'secret',
      clientId: 'test-app-secret',
      credential: { kind: 'secret', file: provider.clientSecretFile },
    });
    const keys = keyPatterns([appKey, serviceKey]);
    const others = [
      withSecret,
      provider.settings({ flow: 'application', name: 'key' }),
      provider.settings({ flow: 'service_account', name: 'service' }),
    ];
    const figures: Record<string, Record<string, number>> = {};
    for (const way of ['bytes', 'fetch'] as const) {
      await using dump = await dumpAfter(way, others);
      const { core, tokens } = dump;
      const refresh = tokens.flatMap((token) => (token.refresh === null ? [] : piecesOf(token.refresh)));
      const access = tokens.flatMap((token) => piecesOf(token.access));
      figures[way] = {
        tokens: tokens.length,
        refresh: await textCopies(core, refresh),
        access: await textCopies(core, access),
        secret: await textCopies(core, piecesOf(secret)),
        lines: await copies(core, keys.lines),
        limbs: await copies(core, keys.limbs),
        der: await copies(core, keys.der),
      };
    }
    const none = { refresh: 0, access: 0, secret: 0, lines: 0, limbs: 0, der: 0 };
    expect(figures['bytes']).toEqual({ tokens: 4 * times + 1, ...none });
    for (const kind of ['refresh', 'access', 'secret', 'limbs']) expect(figures['fetch']?.[kind]).toBeGreaterThan(0);
  },
);
