/** Sample readiness values and full renders, in which every value is known unless a test replaces it. */
import { createMetrics } from '../../../src/adapters/metrics/metrics.ts';
import type { Check, MailboxCheck, Readiness } from '../../../src/ingest/readiness.ts';

export const fine: Check = { status: 'ok', since: '2026-03-01T10:00:00.000Z', reason: null, hint: null };

export function mailboxCheck(mailbox: string, more: Partial<MailboxCheck> = {}): MailboxCheck {
  return {
    ...fine,
    mailbox,
    host: 'imap.example.org',
    last_success: '2026-03-01T10:00:00.000Z',
    next_poll: '2026-03-01T10:01:00.000Z',
    failures: 0,
    push: { state: 'polled', code: 'not_connected', until: null },
    ...more,
  };
}

/** A failing mailbox whose reason and hint must not appear in the metrics. */
export const refusedMailbox = mailboxCheck('sales', {
  status: 'failing',
  reason: 'login_refused: the server refused user sales',
  hint: 'Set the password again.',
  failures: 3,
  last_success: null,
});

const suspended = { state: 'suspended', code: 'idle_refused', until: '2026-03-01T11:00:00.000Z' } as const;

const worker = { host: 'desk1', pid: 100, live: true, seen_at: '2026-03-01T10:00:00.000Z' };

/** `checks` replaces whole checks. */
export function sampleReadiness(checks: Partial<Readiness['checks']> = {}): Readiness {
  return {
    ready: true,
    worker: {
      host: 'desk1',
      pid: 100,
      name: '',
      version: '1.2.3',
      started_at: '2026-03-01T09:00:00.000Z',
      log_level: 'info',
    },
    checks: {
      database: { ...fine, pool: { open: 4, busy: 3, waiting: 2, max: 10 }, ping_ms: 3 },
      disk: { ...fine, free_bytes: 5e9 },
      scheduler: { ...fine, lag_ms: 400, polls: 5, polls_long: 0, due: 6, due_oldest_age_ms: 1500 },
      vault: { ...fine, state: 'open', key_ids: ['0123456789abcdef'] },
      switch: { ...fine, status: 'failing', reason: 'switch_forged: the row is not ours', state: 'on', revision: 12 },
      passwords: { ...fine, readable: 3, readable_tokens: 1 },
      workers: { ...fine, live: 2, list: [worker, { ...worker, pid: 101 }, { ...worker, pid: 102, live: false }] },
      servers: {
        ...fine,
        list: [
          {
            ...fine,
            status: 'failing',
            reason: 'connect_refused: nobody there',
            host: 'down.example.org',
            port: 993,
            tls: 'implicit',
            next_attempt: '2026-03-01T10:05:00.000Z',
          },
        ],
      },
      certificates: {
        ...fine,
        list: [{ host: 'imap.example.org', port: 993, not_after: '2026-03-31T00:00:00.000Z', days_left: 30 }],
      },
      oauth: {
        ...fine,
        providers: [{ ...fine, provider: 'm365', next_attempt: null, credential_days_left: 20 }],
        grants: { ready: 4, needs_consent: 1, refused: 0 },
        list: [],
      },
      listeners: { ...fine, list: [] },
      config: { ...fine, needs_restart: [] },
      clock: { ...fine, offset_ms: -250 },
      crashes: { ...fine, count: 0, last: null },
      push: { ...fine, open: 7, max: 200, suspended: 0, list: [] },
      quarantine: {
        ...fine,
        count: 2,
        oldest: '2026-02-01T00:00:00.000Z',
        reasons: [{ reason: 'too_large', count: 2 }],
      },
      mailboxes: {
        ...fine,
        ok: 1,
        failing: 1,
        waiting: 0,
        paused: 3,
        list: [
          { ...refusedMailbox, push: suspended },
          mailboxCheck('support', { push: { state: 'idling', code: null, until: null } }),
        ],
      },
      ...checks,
    },
  };
}

/** Every counter has counted and every gauge is known: each metric has a sample. */
export async function fullRender(readiness: Readiness = sampleReadiness()): Promise<string> {
  using metrics = createMetrics({ version: '1.2.3' });
  metrics.poll({ mailbox: 'support', host: 'imap.example.org', result: 'ok', durationMs: 120, lagMs: 800 });
  metrics.poll({
    mailbox: 'sales',
    host: 'imap.example.org',
    result: 'login_refused',
    durationMs: 7_000,
    lagMs: null,
  });
  metrics.outcome('support', 'ticket_opened');
  metrics.outcome('support', 'ticket_opened');
  metrics.oauthRenewal('m365', 'ok');
  metrics.idleDelivery(300);
  return metrics.render(readiness);
}

/** Metric types by name, from the TYPE lines. */
export function announced(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', kind = '']) => [name, kind]));
}
