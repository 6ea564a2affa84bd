/**
 * Readiness values for tests of `status`, and a control socket that answers with them.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { hintOf } from '../../../src/errors.ts';
import type { Check, MailboxCheck, Readiness } from '../../../src/ingest/readiness.ts';
import { hints } from '../../../src/text/hints.ts';
import { temporaryFolder } from '../../support/temporary.ts';

/** The time at which the samples are true. */
export const sampleMs = Date.UTC(2026, 0, 31, 3, 12, 9);

/** `minutes` before that, as ISO 8601. */
export function ago(minutes: number): string {
  return new Date(sampleMs - minutes * 60_000).toISOString();
}

const started = ago(3 * 1440 + 4 * 60);
const ok: Check = { status: 'ok', since: started, reason: null, hint: null };

export function mailbox(name: string, more: Partial<MailboxCheck> = {}): MailboxCheck {
  return {
    ...ok,
    mailbox: name,
    host: 'imap.example.com',
    last_success: ago(1),
    next_poll: ago(-1),
    failures: 0,
    push: { state: 'polled', code: 'not_connected', until: null },
    ...more,
  };
}

const worker = { host: 'desk1', pid: 4711, name: '', version: '0.1.0', started_at: started, log_level: 'info' };

/** Everything is well. */
export const fine: Readiness = {
  ready: true,
  worker,
  checks: {
    database: { ...ok, pool: { open: 6, busy: 2, waiting: 0, max: 10 }, ping_ms: 3 },
    disk: { ...ok, free_bytes: 41_234_567_890 },
    scheduler: { ...ok, lag_ms: 400, polls: 3, polls_long: 0, due: 0, due_oldest_age_ms: 0 },
    vault: { ...ok, state: 'open', key_ids: ['1a2b3c4d5e6f7a8b'] },
    switch: { ...ok, state: 'on', revision: 4 },
    passwords: { ...ok, readable: 0, readable_tokens: 0 },
    workers: { ...ok, live: 1, list: [{ host: 'desk1', pid: 4711, live: true, seen_at: ago(0) }] },
    servers: { ...ok, list: [] },
    certificates: {
      ...ok,
      list: [{ host: 'imap.example.com', port: 993, not_after: ago(-60 * 1440), days_left: 60 }],
    },
    oauth: { ...ok, providers: [], grants: { ready: 0, needs_consent: 0, refused: 0 }, list: [] },
    listeners: {
      ...ok,
      list: [
        { ...ok, listener: 'health', address: '127.0.0.1:8025' },
        { ...ok, listener: 'page', address: '127.0.0.1:8026' },
      ],
    },
    config: { ...ok, needs_restart: [] },
    clock: { ...ok, offset_ms: 12 },
    crashes: { ...ok, count: 0, last: null },
    push: { ...ok, open: 2, max: 200, suspended: 0, list: [] },
    quarantine: { ...ok, count: 0, oldest: null, reasons: [] },
    mailboxes: {
      ...{ ...ok, ok: 2, failing: 0, waiting: 0, paused: 1 },
      list: [
        mailbox('support', { push: { state: 'idling', code: null, until: null } }),
        mailbox('sales', { push: { state: 'idling', code: null, until: null } }),
      ],
    },
  },
};

const refusedLogin: Partial<MailboxCheck> = {
  ...{ status: 'failing', since: ago(34), failures: 12, last_success: ago(36), next_poll: ago(-2) },
  reason: 'login_refused: imap.example.com:993 refused user or password',
  hint: hintOf('login_refused'),
};

/** A night that went wrong. */
export const bad: Readiness = {
  ready: false,
  worker: { ...worker, name: 'a' },
  checks: {
    ...fine.checks,
    database: {
      ...{ status: 'failing', since: ago(12), pool: { open: 0, busy: 0, waiting: 14, max: 10 }, ping_ms: null },
      reason: 'database_unavailable: the database at db.example.com:3306 does not answer (ECONNREFUSED)',
      hint: hintOf('database_unavailable'),
    },
    scheduler: { ...ok, lag_ms: 700, polls: 8, polls_long: 0, due: 31, due_oldest_age_ms: 95_000 },
    vault: {
      ...{ status: 'warning', since: ago(65), state: 'orphaned', key_ids: ['1a2b3c4d5e6f7a8b'] },
      reason: 'key_file_missing: the key file data/encryption-key.bin is gone',
      hint: hints.keyBackOrRecover,
    },
    workers: {
      ...{ ...ok, live: 1 },
      list: [
        { host: 'desk1', pid: 4711, live: true, seen_at: ago(0) },
        { host: 'desk2', pid: 902, live: false, seen_at: ago(200) },
      ],
    },
    servers: {
      ...{ status: 'warning', since: ago(20), reason: 'circuit open for 1 mail server', hint: null },
      list: [
        {
          ...{
            host: 'mail.partner.example',
            port: 993,
            tls: 'implicit',
            next_attempt: ago(-1),
            status: 'failing',
            since: ago(20),
          },
          reason: 'connect_timeout: mail.partner.example:993 does not answer',
          hint: hintOf('connect_timeout'),
        },
      ],
    },
    certificates: {
      ...{ status: 'warning', since: ago(1440), hint: hints.certificateExpiring },
      reason: '1 certificate ends soon',
      list: [
        { host: 'imap.example.com', port: 993, not_after: ago(-60 * 1440), days_left: 60 },
        { host: 'mail.partner.example', port: 993, not_after: ago(-6 * 1440), days_left: 6 },
      ],
    },
    quarantine: { ...ok, count: 3, oldest: ago(2 * 1440), reasons: [] },
    mailboxes: {
      ...{ status: 'warning', since: ago(34), ok: 42, failing: 3, waiting: 0, paused: 1 },
      reason: '3 of 45 fail',
      hint: hintOf('login_refused'),
      list: [
        mailbox('support', refusedLogin),
        mailbox('billing', { ...refusedLogin, failures: 7, since: ago(20) }),
        mailbox('a-mailbox-with-a-rather-long-name', {
          ...{ host: 'mail.partner.example', status: 'failing', failures: 3, since: ago(20), last_success: null },
          reason: 'connect_timeout: mail.partner.example:993 does not answer within 20 s',
          hint: hintOf('connect_timeout'),
        }),
        ...Array.from({ length: 42 }, (_, index) => mailbox(`desk-${index + 1}`)),
      ],
    },
  },
};

export type SampleServer = AsyncDisposable & { readonly dataDir: string; answer: unknown; isSilent: boolean };

/** Answers `status` on the control socket of a data folder with `answer`, a text as it is; `isSilent`: with nothing. */
export async function serveSample(answer: unknown, folder: string | null = null): Promise<SampleServer> {
  const own = folder === null ? await temporaryFolder('status') : null;
  const dataDir = folder ?? own?.path ?? '';
  const server: Server = createServer((request, response) => {
    if (sample.isSilent) return;
    const found = request.method === 'POST' && request.url === '/status';
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' });
    response.end(typeof sample.answer === 'string' ? sample.answer : JSON.stringify(sample.answer));
  }).listen(join(dataDir, 'control.sock'));
  await once(server, 'listening');
  const sample: SampleServer = {
    dataDir,
    answer,
    isSilent: false,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      const closed = once(server, 'close');
      server.close();
      await closed;
      await own?.[Symbol.asyncDispose]();
    },
  };
  return sample;
}
