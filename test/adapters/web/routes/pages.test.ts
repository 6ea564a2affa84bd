/** Routes of the pages: calls of the service, the responses to its results, and to its failures. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { AdminService } from '../../../../src/admin/service.ts';
import { Failure } from '../../../../src/errors.ts';
import { type MemoryService, memoryService } from '../memory-service.ts';
import { browser, openPage, signedIn } from '../page-client.ts';
import { unconfirmedMailbox } from '../pages/views-mail.ts';

let service: MemoryService;

beforeEach(() => {
  service = memoryService();
});

const encryption = '/admin/server/encryption';
const both = { accept_key_loss: 'yes', backup_prepared: 'yes' };

async function opened(instead: Partial<AdminService> = {}, responseMs = 30_000) {
  service = memoryService(instead);
  const page = await openPage(service, {}, { responseMs });
  const browser = await signedIn(page);
  const [session] = service.sessions.values();
  const user = { ...browser, csrf: session?.csrf ?? '' };
  service.done.length = 0;
  return { page, user, [Symbol.asyncDispose]: () => page[Symbol.asyncDispose]() };
}

describe('what is asked', () => {
  test.each([
    ['/admin/overview', 'overview {"page":1,"show":"all","search":""}'],
    ['/admin/overview?page=3&show=failing', 'overview {"page":1,"show":"all","search":""}'],
    ['/admin/mailboxes?page=3&show=failing&search=%20DESK%20', 'overview {"page":3,"show":"failing","search":"desk"}'],
    ['/admin/mailboxes?page=0&show=x&search=', 'overview {"page":1,"show":"all","search":""}'],
    ['/admin/mailboxes?page=1e3', 'overview {"page":1,"show":"all","search":""}'],
    [
      `/admin/mailboxes?page=9999999&search=${'y'.repeat(300)}`,
      `overview {"page":1,"show":"all","search":"${'y'.repeat(200)}"}`,
    ],
    ['/admin/quarantine?page=2&reason=parse_timeout', 'quarantine {"page":2,"reason":"parse_timeout"}'],
    ['/admin/quarantine?reason=%3Cb%3E', 'quarantine {"page":1,"reason":null}'],
  ])('%s', async (path, line) => {
    await using place = await opened();
    expect((await place.user.get(path)).status).toBe(200);
    expect(service.done).toEqual([line]);
  });

  test.each([
    ['enable', both, 'start enable ada', 'being enabled'],
    ['rotate', {}, 'start rotate ada', 'being rotated'],
    ['request-disable', {}, 'request-disable ada', 'create the file'],
    ['confirm-disable', {}, 'confirm-disable ada', 'being disabled'],
    ['cancel-disable', {}, 'cancel-disable ada', 'was withdrawn'],
    [
      'verify-backup',
      { key_ids: '0123456789ABCDEF  fedcba9876543210' },
      'verify-backup 0123456789abcdef fedcba9876543210 ada',
      'every key',
    ],
  ])('by the form %s, which leads back and says once what came of it', async (name, fields, line, text) => {
    await using place = await opened();
    const { user } = place;
    const got = await user.post(`${encryption}/${name}`, { csrf: user.csrf, ...fields });
    expect([got.status, got.headers.location, service.done]).toEqual([303, encryption, [line]]);
    expect((await user.get(`${encryption}?refresh=1`)).text).not.toContain(text);
    expect((await user.get(encryption)).text).toContain(text);
    expect((await user.get(encryption)).text).not.toContain(text);
    expect(service.refusals).toEqual([]);
  });

  test('the flash of a form is shown in no other session', async () => {
    await using place = await opened();
    const other = await signedIn(place.page);
    await place.user.post(`${encryption}/rotate`, { csrf: place.user.csrf });
    expect((await other.get(encryption)).text).not.toContain('being rotated');
    expect((await place.user.get(encryption)).text).toContain('being rotated');
  });

  test.each(['requeue', 'release', 'discard'])(
    '%s of a message, which redirects to the same part of the list',
    async (way) => {
      await using place = await opened();
      const { user } = place;
      const fields = { csrf: user.csrf, id: 'desk/7/12', action: way, page: '2', reason: 'parse_timeout' };
      const got = await user.post('/admin/quarantine/resolve', fields);
      expect([got.status, got.headers.location]).toEqual([303, '/admin/quarantine?page=2&reason=parse_timeout']);
      expect(service.done).toEqual([`resolve desk/7/12 ${way} ada`]);
      expect((await user.get('/admin/quarantine')).text).toContain('It became ticket TM-1.');
    },
  );

  test('the settings of a mailbox, confirmed as they were shown', async () => {
    await using place = await opened();
    const { user } = place;
    const { text } = await user.get('/admin/mailbox?name=desk');
    const { digest } = unconfirmedMailbox;
    for (const part of ['Settings unconfirmed', 'Sent', 'Archive/2026', `name="digest" value="${digest}"`])
      expect(text).toContain(part);
    const confirm = (fields: Record<string, string>) =>
      user.post('/admin/mailbox/confirm', { csrf: user.csrf, name: 'desk', ...fields });
    const done = await confirm({ digest });
    expect([done.status, done.headers.location]).toEqual([303, '/admin/mailbox?name=desk']);
    const other = await confirm({ digest: 'e'.repeat(43) });
    expect([other.status, other.headers.location]).toEqual([303, '/admin/mailbox?name=desk']);
    for (const fields of [{}, { digest: 'short' }, { digest, name: '' }]) {
      const refused = await confirm(fields as Record<string, string>);
      expect(refused.status).toBe(422);
    }
    const unknown = await user.get('/admin/mailbox?name=nobody');
    expect([unknown.status, unknown.headers.location]).toEqual([303, '/admin/mailboxes']);
  });

  test('the verdict about a backup', async () => {
    await using place = await opened();
    const { user } = place;
    const ask = async (key_ids: string) => {
      const got = await user.post(`${encryption}/verify-backup`, { csrf: user.csrf, key_ids });
      expect([got.status, got.headers.location]).toEqual([303, encryption]);
      return (await user.get(encryption)).text;
    };
    expect(await ask('0123456789abcdef')).toContain('The copy holds every key of the key file.');
    service.verdict = { kind: 'lacks', keyIds: ['fedcba9876543210'], formerKeyIds: [] };
    expect(await ask('0123456789abcdef')).toContain('The copy lacks keys that are in use: fedcba9876543210.');
    service.verdict = { kind: 'former', keyIds: ['fedcba9876543210'], formerKeyIds: ['0123456789abcdef'] };
    const former = await ask('0123456789abcdef');
    expect(former).toContain('This is a former key, 0123456789abcdef: keep it as long as database backups of its time');
    expect(former).toContain('In use is fedcba9876543210');
    service.verdict = { kind: 'other', keyIds: ['fedcba9876543210'], formerKeyIds: [] };
    expect(await ask('0123456789abcdef')).toContain('This is no key of this installation, as far as it is known here.');
    service.verdict = { kind: 'no_key' };
    expect(await ask('0123456789abcdef')).toContain('There is no key here to compare with.');
    expect(service.refusals).toEqual([]);
    for (const wrong of ['', 'x', '0123456789abcde', Array.from({ length: 9 }, () => '0123456789abcdef').join(' ')])
      expect(await ask(wrong)).toContain('Give the fingerprints of the copy');
    const refused = { reason: 'bad_request', about: 'encryption verify-backup', who: 'ada' };
    expect(service.refusals).toMatchObject([refused, refused, refused, refused]);
    user.cookies.clear();
    const stranger = await user.post(`${encryption}/verify-backup`, { csrf: user.csrf, key_ids: '0123456789abcdef' });
    expect([stranger.status, stranger.headers.location]).toEqual([303, '/admin/sign-in']);
  });
});

describe('what is refused', () => {
  test.each([
    [{}, false, false],
    [{ accept_key_loss: 'yes' }, true, false],
    [{ backup_prepared: 'yes' }, false, true],
    [{ accept_key_loss: 'on', backup_prepared: 'yes' }, false, true],
  ])('enabling with the boxes %j, which stay as they were ticked', async (boxes, keyLoss, backup) => {
    await using place = await opened();
    const { user } = place;
    const got = await user.post(`${encryption}/enable`, { csrf: user.csrf, ...boxes } as Record<string, string>);
    expect(got.status).toBe(422);
    expect(service.done).toEqual([]);
    expect(got.text).toContain('both boxes must be ticked');
    const ticked = (name: string) => new RegExp(`<input[^>]*name="${name}"[^>]* checked`).test(got.text);
    expect([ticked('accept_key_loss'), ticked('backup_prepared')]).toEqual([keyLoss, backup]);
    expect(service.refusals).toMatchObject([{ reason: 'not_acknowledged', about: 'encryption enable', who: 'ada' }]);
    expect((await user.get(encryption)).text).not.toContain('both boxes must be ticked');
  });

  test('continuing an operation that was not begun, or of another kind', async () => {
    await using place = await opened();
    const { user } = place;
    for (const kind of ['enable', 'rotate', 'disable'])
      await user.post(`${encryption}/continue`, { csrf: user.csrf, kind });
    service.unfinished = 'rotate';
    await user.post(`${encryption}/continue`, { csrf: user.csrf, kind: 'disable' });
    expect((await user.post(`${encryption}/continue`, { csrf: user.csrf, kind: 'x' })).status).toBe(422);
    expect(service.done).toEqual([]);
    expect(service.refusals.map(({ reason }) => reason)).toEqual([...Array(4).fill('not_possible_now'), 'bad_request']);
    await user.post(`${encryption}/continue`, { csrf: user.csrf, kind: 'rotate' });
    expect(service.done).toEqual(['start rotate ada']);
  });

  test('what the service refuses, with its sentence', async () => {
    await using place = await opened();
    const { user } = place;
    service.started = { kind: 'refused', sentence: 'The file is older than the request.' };
    for (const [name, fields, reason] of [
      ['confirm-disable', {}, 'proof_refused'],
      ['rotate', {}, 'not_possible_now'],
      ['enable', both, 'not_possible_now'],
    ] as const) {
      expect((await user.post(`${encryption}/${name}`, { csrf: user.csrf, ...fields })).status).toBe(303);
      expect((await user.get(encryption)).text).toContain('The file is older than the request.');
      expect(service.refusals.at(-1)).toMatchObject({ reason, who: 'ada', about: `encryption ${name}` });
    }
  });

  test('a proof that is not right, with which of the three it is', async () => {
    const checks = [
      { name: 'exists', ok: true, fault: null, why: null },
      { name: 'owner', ok: true, fault: null, why: null },
      { name: 'newer', ok: false, fault: 'too_old', why: '/x is older than this request' },
    ] as const;
    const given = { by: 'ada', requestedAtMs: 0, expiresAtMs: 1, path: '/x', command: 'touch /x', checks };
    await using place = await opened({
      confirmDisable: async () => ({ kind: 'refused', sentence: 'The proof file is not accepted.' }),
      encryption: async () => ({ ...(await memoryService().encryption()), proofRequest: given }),
    });
    const { user } = place;
    await user.post(`${encryption}/confirm-disable`, { csrf: user.csrf });
    expect((await user.get(encryption)).text).toContain('the proof file is too old');
  });

  test('what a rule of the workflows refuses, with what helps', async () => {
    const refused = async () => {
      throw new Failure('operation_running', 'rotate runs on desk-1');
    };
    await using place = await opened({ requestDisable: refused, resolveQuarantined: refused });
    const { user } = place;
    await user.post(`${encryption}/request-disable`, { csrf: user.csrf });
    expect((await user.get(encryption)).text).toContain('rotate runs on desk-1');
    await user.post('/admin/quarantine/resolve', { csrf: user.csrf, id: 'desk/1', action: 'requeue' });
    expect((await user.get('/admin/quarantine')).text).toContain('rotate runs on desk-1');
    expect(service.refusals.map(({ reason }) => reason)).toEqual(['operation_running', 'operation_running']);
  });

  test.each([
    { id: 'desk/1', action: 'delete' },
    { id: 'desk/1' },
    { action: 'requeue' },
    { id: 'x'.repeat(301), action: 'requeue' },
  ])('settling %j', async (fields) => {
    await using place = await opened();
    const { user } = place;
    const got = await user.post('/admin/quarantine/resolve', { csrf: user.csrf, ...fields } as Record<string, string>);
    expect([got.status, service.done]).toEqual([422, []]);
  });
});

describe('what fails', () => {
  const canary = 'canary-7f3a';
  const away = async () => {
    throw new Failure('database_unavailable', `no ${canary}`);
  };
  const broken = async () => {
    throw Object.assign(new Error(canary), { statusCode: 418, code: canary, headers: { 'x-canary': canary } });
  };

  test('a database that is away is a sentence, on any page and for any form', async () => {
    await using place = await opened({
      overview: away,
      encryption: away,
      startOperation: away,
      resolveQuarantined: away,
    });
    const { user, page } = place;
    const got = [
      await user.get('/admin/overview'),
      await user.get(encryption),
      await user.post(`${encryption}/rotate`, { csrf: user.csrf }),
      await user.post('/admin/quarantine/resolve', { csrf: user.csrf, id: 'desk/1', action: 'requeue' }),
    ];
    for (const { status, text } of got) {
      expect(status).toBe(503);
      expect(text).toContain('ticketmaild status');
      expect(text).not.toContain(canary);
    }
    expect(got.map(({ text }) => text.includes('>Try again</a>'))).toEqual([true, true, false, false]);
    expect(got.every(({ text }) => text.includes('Back to the overview'))).toBe(true);
    expect(page.lines).toHaveLength(1);
  });

  test('a signed-in admin is redirected to the overview, and a stranger to the sign-in', async () => {
    await using place = await opened();
    expect((await place.user.get('/admin/none')).text).toContain('Back to the overview');
    expect((await place.user.post(`${encryption}/rotate`, { csrf: 'x' })).text).toContain('Back to the overview');
    expect((await browser(place.page).get('/admin/none')).text).toContain('Go to the sign-in');
  });

  test('a database that is away keeps strangers at the sign-in page as well', async () => {
    await using page = await openPage(memoryService({ session: away, hasNoAccount: away }));
    const user = browser(page);
    expect((await user.get('/admin/sign-in')).status).toBe(503);
    user.cookies.set(`ticketmaild-${new URL(page.address).port}`, 'x'.repeat(43));
    expect((await user.get('/admin/overview')).status).toBe(503);
  });

  test('anything else is a page without a word of it, and a line in the log', async () => {
    await using place = await opened({ quarantine: broken, encryption: broken, startOperation: broken });
    const { user, page } = place;
    const got = [await user.get('/admin/quarantine'), await user.post(`${encryption}/rotate`, { csrf: user.csrf })];
    for (const { status, text, headers } of got) {
      expect(status).toBe(500);
      expect(text + JSON.stringify(headers)).not.toContain(canary);
      expect(headers['cache-control']).toBe('no-store');
    }
    expect(page.lines.slice(1)).toMatchObject([
      { level: 'error', event: 'admin.request_failed', fields: { page: 'quarantine', who: 'ada' } },
      { level: 'error', event: 'admin.request_failed', fields: { page: 'encryption rotate', who: 'ada' } },
    ]);
    expect((await user.get('/admin/overview')).status).toBe(200);
  });

  test('what hangs is answered in time', async () => {
    await using place = await opened({ quarantine: () => new Promise(() => undefined) }, 200);
    const got = await place.user.get('/admin/quarantine');
    expect(got.status).toBe(503);
    expect(got.text).toContain('took too long');
  });
});
