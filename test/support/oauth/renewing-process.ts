/**
 * A process that requests tokens of each kind many times, for the search of their copies in its memory.
 *
 * Its one line of standard input is JSON (`Renewing`). Tokens are dropped as they come; it says `done` and then waits
 * for the end of standard input. `fetch` is the control: strings and a key object, as most programs do it.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createProviderClient } from '../../../src/adapters/oauth/client.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import type { TokenAnswer, TokenRequest } from '../../../src/oauth/ports.ts';
import { SecretBytes, secretBuffer } from '../../../src/secret/secret-bytes.ts';

export type Renewing = {
  readonly way: 'bytes' | 'fetch';
  readonly times: number;
  readonly person: OAuthProvider;
  /** Of an application and a service account. */
  readonly others: readonly OAuthProvider[];
  /** The first refresh token, XOR 0x55, so that this line is no hit. */
  readonly masked: readonly number[];
};

export const mask = 0x55;
const signal = new AbortController().signal;

function unmask(masked: readonly number[]): Uint8Array {
  const bytes = secretBuffer(masked.length);
  for (const [at, byte] of masked.entries()) bytes[at] = byte ^ mask;
  return bytes;
}

async function renewAsBytes({ times, person, others, masked }: Renewing): Promise<void> {
  const client = createProviderClient({ clock: systemClock });
  let refreshToken: SecretBytes | null = SecretBytes.take(unmask(masked));
  for (let time = 0; time < times && refreshToken !== null; time += 1) {
    const answer: TokenAnswer = await client.requestToken(person, { grantType: 'refresh_token', refreshToken }, signal);
    answer.accessToken.wipe();
    refreshToken.wipe();
    refreshToken = answer.refreshToken;
    for (const other of others) {
      const request: TokenRequest =
        other.flow === 'service_account'
          ? { grantType: 'jwt_bearer', subject: 'ada@example.test' }
          : { grantType: 'client_credentials' };
      (await client.requestToken(other, request, signal)).accessToken.wipe();
    }
  }
  refreshToken?.wipe();
}

const keys: KeyObject[] = [];

async function renewByFetch({ times, person, others, masked }: Renewing): Promise<void> {
  for (const { credential } of others)
    if (credential.kind === 'private_key') keys.push(createPrivateKey(readFileSync(credential.keyFile, 'utf8')));
  const first = unmask(masked);
  const secretFile = others
    .map(({ credential }) => (credential.kind === 'secret' ? credential.file : null))
    .find(Boolean);
  const secret = secretFile === undefined || secretFile === null ? '' : readFileSync(secretFile, 'utf8').trim();
  let token = Buffer.from(first).toString();
  first.fill(0);
  const post = async (form: Readonly<Record<string, string>>) =>
    (await (await fetch(person.endpoints.token ?? '', { method: 'POST', body: new URLSearchParams(form) })).json()) as {
      refresh_token: string;
    };
  for (let time = 0; time < times; time += 1) {
    const form = { grant_type: 'refresh_token', client_id: person.clientId, refresh_token: token };
    token = (await post(form)).refresh_token;
    await post({ grant_type: 'client_credentials', client_id: 'test-app-secret', client_secret: secret });
  }
}

if (import.meta.main) {
  for await (const line of createInterface({ input: process.stdin })) {
    const renewing: Renewing = JSON.parse(line);
    await (renewing.way === 'bytes' ? renewAsBytes(renewing) : renewByFetch(renewing));
    await new Promise((resolve) => setTimeout(resolve, 200));
    process.stdout.write('done\n');
  }
}
