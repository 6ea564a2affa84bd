/**
 * A process in which a person signs in once by each way, for the search of copies of the tokens in its memory.
 *
 * Its one argument is JSON (`Consenting`). `bytes` runs `mailbox authorize` with a login after it for each mailbox, as
 * the command does; `fetch` is the control: as often by a browser, with strings, as most programs do it. It says `done`
 * on standard output and then waits to be ended.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openTerminal } from '../../../src/adapters/terminal/terminal.ts';
import type { Context } from '../../../src/commands/context.ts';
import { authorizeMailbox } from '../../../src/commands/mailbox/authorize.ts';
import { compose } from '../../../src/compose/compose.ts';
import { loadConfig, processEnvironment } from '../../../src/config/load.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import { createLog } from '../../../src/log.ts';
import type { SignInWay } from './terminal-person.ts';

export type Consenting = {
  readonly how: 'bytes' | 'fetch';
  /** Mailboxes, each named as its way. */
  readonly ways: readonly SignInWay[];
  readonly provider: OAuthProvider;
};

async function consentAsBytes({ ways }: Consenting): Promise<void> {
  const { stdin, stdout, stderr } = process;
  const silent = { write: () => undefined };
  const context: Partial<Context> = {
    terminal: openTerminal({ stdin, stdout, stderr, colours: false, nowMs: Date.now }),
    isAttended: false,
    signal: new AbortController().signal,
    loadConfig: async (file) => loadConfig({ file, env: processEnvironment(), readFile: (path) => readFileSync(path) }),
    compose: (config) => compose(config, createLog({ level: 'trace', pretty: false, destination: silent })),
  };
  for (const way of ways) await authorizeMailbox({ name: way, [way]: true }, context as Context);
}

async function consentByFetch({ ways, provider }: Consenting): Promise<void> {
  for (const _ of ways) await consentOnceByFetch(provider);
}

/** Authorization code with PKCE on loopback. */
async function consentOnceByFetch({ endpoints, clientId, scopes, prompt }: OAuthProvider): Promise<void> {
  const { promise: code, resolve } = Promise.withResolvers<string>();
  const server = createServer((request, response) => {
    resolve(new URL(request.url ?? '', 'http://127.0.0.1').searchParams.get('code') ?? '');
    response.end('done');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const redirectUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/oauth/callback`;
  const verifier = randomBytes(32).toString('base64url');
  const url = new URL(endpoints.authorization ?? '');
  const parameters = {
    ...{ client_id: clientId, response_type: 'code', redirect_uri: redirectUri, scope: scopes.join(' '), state: 's' },
    ...{ code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256' },
    prompt: prompt ?? '',
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  process.stderr.write(`Open this address:\n${url.href}\nat port ${new URL(redirectUri).port}\n`);
  const form = { grant_type: 'authorization_code', client_id: clientId, code: await code, redirect_uri: redirectUri };
  const body = new URLSearchParams({ ...form, code_verifier: verifier });
  const answer = await fetch(endpoints.token ?? '', { method: 'POST', body });
  const { refresh_token: refresh } = (await answer.json()) as { refresh_token?: string };
  if (refresh === undefined) throw new Error('no refresh token');
  server.close();
  server.closeAllConnections();
}

if (import.meta.main) {
  const consenting: Consenting = JSON.parse(process.argv[2] ?? '');
  await (consenting.how === 'bytes' ? consentAsBytes(consenting) : consentByFetch(consenting));
  await new Promise((resolve) => setTimeout(resolve, 200));
  process.stdout.write('done\n');
  setInterval(() => undefined, 60_000);
}
