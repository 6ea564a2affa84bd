/**
 * Attacker who sends arbitrary requests to the admin page: every request is noted with its answer, so that in the end
 * all of them can be looked at together.
 */
import type { RequestOptions } from 'node:http';
import { type Got, raw, send } from '../adapters/web/page-client.ts';
import type { SignedIn } from './admin-scene.ts';

export type Attacker = {
  /** Status codes of all answers so far, of those to raw bytes too. */
  readonly statuses: readonly number[];
  /** Every answer as text, head and body. */
  readonly answers: readonly string[];
  ask(path: string, options?: RequestOptions & { readonly body?: string | Buffer }): Promise<Got>;
  /** A form, with the headers of a browser unless others are given; null leaves one out. */
  post(
    path: string,
    fields: Readonly<Record<string, string>>,
    headers?: Readonly<Record<string, string | null>>,
  ): Promise<Got>;
  /** Bytes as they are, and everything that comes back. */
  raw(bytes: string | Buffer): Promise<string>;
};

export function createAttacker(address: string): Attacker {
  const statuses: number[] = [];
  const answers: string[] = [];
  const note = (got: Got): Got => {
    statuses.push(got.status);
    answers.push(`${JSON.stringify(got.headers)}\n${got.text}`);
    return got;
  };
  const ask: Attacker['ask'] = async (path, options = {}) => {
    const { origin, hostname, port } = new URL(address);
    // Not as a URL, which would tidy the path up.
    return note(await send(origin, { hostname, port, path, ...options }));
  };
  return {
    statuses,
    answers,
    ask,
    post: (path, fields, headers = {}) => {
      const body = `${new URLSearchParams(fields)}`;
      const usual = { origin: address, 'content-type': 'application/x-www-form-urlencoded' };
      const all = { ...usual, 'content-length': `${Buffer.byteLength(body)}`, ...headers };
      const given = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null);
      return ask(path, { method: 'POST', headers: Object.fromEntries(given), body });
    },
    raw: async (bytes) => {
      const answer = await raw(Number(new URL(address).port), bytes);
      answers.push(answer);
      const status = /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1];
      if (status !== undefined) statuses.push(Number(status));
      return answer;
    },
  };
}

/** Cookies as a header. */
export function cookieOf({ cookies }: Pick<SignedIn, 'cookies'>): string {
  return [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
}

/** Every form below /admin/ that changes something, with fields that would be good for it. */
export const changingForms: readonly (readonly [path: string, fields: Readonly<Record<string, string>>])[] = [
  ['server/encryption/enable', { accept_key_loss: 'yes', backup_prepared: 'yes' }],
  ['server/encryption/rotate', {}],
  ['server/encryption/continue', { kind: 'disable' }],
  ['server/encryption/request-disable', {}],
  ['server/encryption/confirm-disable', {}],
  ['server/encryption/cancel-disable', {}],
  ['server/encryption/verify-backup', { key_ids: '0123456789abcdef' }],
  ['quarantine/resolve', { id: 'x', action: 'release' }],
  ['mailbox/confirm', { name: 'x', digest: 'A'.repeat(43) }],
  ['mailbox/retry', { name: 'x' }],
  ['mailbox/retry', { host: 'x' }],
  ['mailbox/add', { name: 'x', host: '127.0.0.1', port: '1', user: 'x', folder: 'INBOX', password: 'x' }],
  ...['set', 'password', 'test', 'pause', 'resume', 'remove'].map(
    (name) => [`mailbox/${name}`, { mailbox: 'x', version: 'A'.repeat(43), typed_name: 'x', password: 'x' }] as const,
  ),
  ['sign-out', {}],
];
