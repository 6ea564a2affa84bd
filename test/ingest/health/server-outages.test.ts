import { describe, expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { type MailboxFacts, mailboxChecks } from '../../../src/ingest/health/mailbox-checks.ts';
import { outagesInRows, type ServerOutage } from '../../../src/ingest/health/server-outages.ts';
import type { MailboxHealth } from '../../../src/ingest/model.ts';
import { mailbox } from '../samples.ts';

const fine: MailboxHealth = {
  ...{
    nextPollAtMs: null,
    failures: 0,
    failingSinceMs: null,
    loginFailures: 0,
    lastSuccessAtMs: 1000,
    lastError: null,
  },
  ...{ cursor: null, password: { form: 'plain', keyId: null }, settingsSeal: null },
};

const failed = (code: string, atMs: number, sinceMs = atMs): MailboxHealth => ({
  ...{ ...fine, failures: 1, failingSinceMs: sinceMs },
  lastError: { code, message: 'stored words', hint: 'stored hint', atMs },
});

const rows = (...all: readonly (MailboxHealth | readonly [MailboxHealth, host: string])[]) =>
  all.map((one, index) => {
    const [health, host] = Array.isArray(one) ? one : [one, 'mail'];
    return { ...mailbox(`box${index}`, host), health } as ReturnType<typeof mailbox> & { health: MailboxHealth };
  });

const { port, tls } = mailbox('any', 'mail').connection;
const endpoint = { host: 'mail', port, tls };

describe('the rows show an outage', () => {
  test('when two mailboxes did not reach the server and none was polled successfully since', () => {
    const all = rows(failed('connect_refused', 5000, 3000), fine, failed('connect_timeout', 7000, 6000), fine);
    expect(outagesInRows(all)).toEqual([
      {
        ...endpoint,
        failure: { code: 'connect_timeout', message: 'stored words', hint: 'stored hint' },
        ...{ sinceMs: 3000, atMs: 7000, isStored: true },
      },
    ]);
  });

  test.each([
    ['one of them alone', rows(failed('connect_refused', 5000), fine)],
    [
      'with a newer success',
      rows(failed('connect_refused', 5000), failed('connect_refused', 6000), { ...fine, lastSuccessAtMs: 6500 }),
    ],
    ['for which each has a reason of its own', rows(failed('login_refused', 5000), failed('login_refused', 6000))],
    ['on two servers', rows(failed('connect_refused', 5000), [failed('connect_refused', 6000), 'other'])],
  ])('not %s', (_, all) => {
    expect(outagesInRows(all)).toEqual([]);
  });
});

describe('the verdict on the mailboxes of a server that is away', () => {
  const facts: MailboxFacts = {
    ...{ records: new Map(), outages: [], grants: [], isUnconfirmed: () => false },
    ...{ silentSinceMs: () => null, heardAtMs: () => null },
    ...{ vault: { since: null, hint: null, key_ids: [] }, uidValidityChanges: { count: () => 0 } },
    ...{ loginFailuresMax: 3, nowMs: 20_000 },
  };
  const away: ServerOutage = {
    ...endpoint,
    failure: new Failure('connect_refused', 'no'),
    sinceMs: 10_000,
    atMs: 12_000,
  };
  const verdicts = (all: ReturnType<typeof rows>, more: Partial<MailboxFacts> = {}) =>
    mailboxChecks(all, { ...facts, outages: [away], ...more }, () => ({ state: 'polled', code: null, until: null }));

  test('a success in the time to come, by a clock that was ahead, hides nothing', () => {
    const ahead = { ...fine, lastSuccessAtMs: 3_600_000 };
    expect(verdicts(rows(ahead, ahead)).failing).toBe(2);
    expect(verdicts(rows({ ...fine, lastSuccessAtMs: 13_000 })).failing).toBe(0);
  });

  test('each of them fails, with the reason of the server and since when it is away', () => {
    const { list, ...check } = verdicts(rows(fine, fine, fine));
    expect(check).toMatchObject({
      ...{ status: 'failing', ok: 0, failing: 3, since: new Date(10_000).toISOString() },
      reason: `3 of 3 fail: server mail:${port} with implicit TLS (connect_refused)`,
    });
    expect(list[2]).toMatchObject({ status: 'failing', reason: 'connect_refused: no', hint: away.failure.hint });
  });

  test('others stay ok, and the reason says how many of those that fail are there', () => {
    const check = verdicts(rows(fine, fine, [fine, 'other'], [failed('login_refused', 1), 'other']));
    expect(check).toMatchObject({ ok: 1, failing: 3 });
    expect(check.reason).toBe(`3 of 4 fail: 2 of them by server mail:${port} with implicit TLS (connect_refused)`);
  });

  test('a refused password stays the reason of its mailbox; a failure of the server is replaced', () => {
    const { list } = verdicts(rows(failed('login_refused', 5000), failed('connect_timeout', 5000)));
    expect(list.map(({ reason }) => reason)).toEqual(['login_refused: stored words', 'connect_refused: no']);
    expect(list[1]?.stored).toBeUndefined();
  });

  test('a mailbox whose connection in IDLE was heard since is ok, unless it is silent now', () => {
    const heard = { heardAtMs: (id: string) => (id === 'box0' ? 11_000 : null) };
    expect(verdicts(rows(fine, fine), heard)).toMatchObject({ ok: 1, failing: 1 });
    expect(verdicts(rows(fine, fine), { ...heard, silentSinceMs: () => 15_000 })).toMatchObject({ ok: 0, failing: 2 });
  });

  test('a connection that waits in vain for an answer concerns its mailbox', () => {
    const silent = { outages: [], silentSinceMs: (id: string) => (id === 'box1' ? 15_000 : null) };
    const { ok, list } = verdicts(rows(fine, fine), silent);
    expect(ok).toBe(1);
    expect(list[0]).toMatchObject({ since: new Date(15_000).toISOString(), mailbox: 'box1' });
    expect(list[0]?.reason).toMatch(/^server_timeout: /);
  });

  test('a mailbox that another worker polled successfully since is ok', () => {
    expect(verdicts(rows(fine, { ...fine, lastSuccessAtMs: 13_000 }))).toMatchObject({ ok: 1, failing: 1 });
  });

  test('the rows alone show it to a worker that did not try, as stored words', () => {
    const all = rows(failed('connect_refused', 5000), failed('connect_refused', 6000), fine);
    const { failing, list } = verdicts(all, { outages: [] });
    expect(failing).toBe(3);
    expect(list[2]).toMatchObject({ stored: { code: 'connect_refused', message: 'stored words' }, failures: 0 });
  });

  test('without a live worker a mailbox fails a minute after it was due', () => {
    const due = rows({ ...fine, nextPollAtMs: 20_000 - 61_000 });
    expect(verdicts(due, { outages: [] })).toMatchObject({ ok: 1 });
    expect(verdicts(due, { outages: [], isUnattended: true }).list[0]?.reason).toMatch(/^overdue: /);
  });
});
