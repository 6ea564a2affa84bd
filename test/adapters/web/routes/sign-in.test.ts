/** Signing in and out, and the cookies of it. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { SecretBytes } from '../../../../src/secret/secret-bytes.ts';
import { adminName, adminPassword, type MemoryService, memoryService } from '../memory-service.ts';
import { browser, csrfIn, type OpenPage, openPage, signedIn } from '../page-client.ts';

let service: MemoryService;
let page: OpenPage;

beforeAll(async () => {
  service = memoryService();
  page = await openPage(service);
});

beforeEach(() => {
  service.refusals.length = 0;
  service.done.length = 0;
});

afterAll(() => page[Symbol.asyncDispose]());

const right = { name: adminName, password: adminPassword };

test('the right name and password set a new cookie, and delete that of the visitor', async () => {
  const user = browser(page);
  const shown = await user.get('/admin/sign-in');
  expect(shown.set).toEqual([
    expect.stringMatching(/^ticketmaild-visitor-\d+=[\w-]{43}; Path=\/admin; HttpOnly; SameSite=Strict$/),
  ]);
  const got = await user.post('/admin/sign-in', { csrf: csrfIn(shown.text), ...right });
  expect([got.status, got.headers.location]).toEqual([303, '/admin/overview']);
  expect(got.set).toEqual([
    expect.stringMatching(/^ticketmaild-\d+=[\w-]{43}; Path=\/admin; HttpOnly; SameSite=Strict$/),
    expect.stringMatching(/^ticketmaild-visitor-\d+=; Max-Age=0; Path=\/admin; HttpOnly; SameSite=Strict$/),
  ]);
  expect([...user.cookies.keys()]).toEqual([`ticketmaild-${new URL(page.address).port}`]);
  expect((await user.get('/admin/overview')).text).toContain(adminName);
  expect((await user.get('/admin/sign-in')).headers.location).toBe('/admin/overview');
});

test.each([
  [{ name: adminName, password: 'wrong' }, 403, 'Name or password is wrong'],
  [{ name: 'nobody', password: adminPassword }, 403, 'Name or password is wrong'],
  [{ name: 'limited', password: 'x' }, 429, 'in 2 minutes'],
  [{ name: 'busy', password: 'x' }, 503, 'a few seconds'],
  [{ name: '', password: 'x' }, 422, 'a name and a password'],
  [{ name: adminName, password: '' }, 422, 'a name and a password'],
  [{ name: adminName }, 422, 'a name and a password'],
])('%j answers %i', async (fields, status, text) => {
  const user = browser(page);
  const { text: shown } = await user.get('/admin/sign-in');
  const got = await user.post('/admin/sign-in', { csrf: csrfIn(shown), ...fields } as Record<string, string>);
  expect(got.status).toBe(status);
  expect(got.text).toContain(text);
  expect(got.headers['retry-after']).toBe(status === 429 ? '90' : status === 503 ? '5' : undefined);
  expect(got.set).toEqual([]);
  const { csrf } = { csrf: csrfIn(got.text) };
  expect((await user.post('/admin/sign-in', { csrf, ...right })).status).toBe(303);
});

test('no answer to a sign-in repeats the password, whatever its result', async () => {
  const typed = 'XQ7-Z9+W_K#42!';
  const forms = [typed, encodeURIComponent(typed), Buffer.from(typed).toString('base64')];
  for (const name of [adminName, 'nobody', 'limited', 'busy', '']) {
    const user = browser(page);
    for (const csrf of [csrfIn((await user.get('/admin/sign-in')).text), 'wrong']) {
      const { status, headers, text } = await user.post('/admin/sign-in', { csrf, name, password: typed });
      expect(status).toBeGreaterThanOrEqual(400);
      const answer = JSON.stringify(headers) + text;
      expect(forms.filter((form) => answer.includes(form))).toEqual([]);
    }
  }
  expect(JSON.stringify(page.lines)).not.toContain(typed);
});

test('without the cookie of the visitor, or with the token of another, no session begins', async () => {
  const [user, other] = [browser(page), browser(page)];
  const { text } = await user.get('/admin/sign-in');
  await other.get('/admin/sign-in');
  for (const one of [other, browser(page)]) {
    const got = await one.post('/admin/sign-in', { csrf: csrfIn(text), ...right });
    expect(got.status).toBe(403);
    expect(got.text).toContain('out of date');
    expect(one.cookies.has(`ticketmaild-${new URL(page.address).port}`)).toBe(false);
    expect((await one.post('/admin/sign-in', { csrf: csrfIn(got.text), ...right })).status).toBe(303);
  }
  expect(service.refusals.map(({ reason }) => reason)).toEqual(['csrf', 'csrf']);
});

test('a token that was planted before is not the one after, and does not live on', async () => {
  const attacker = await signedIn(page);
  const planted = attacker.cookies.get(`ticketmaild-${new URL(page.address).port}`) ?? '';
  const victim = browser(page);
  const { text } = await victim.get('/admin/sign-in');
  victim.cookies.set(`ticketmaild-${new URL(page.address).port}`, planted);
  await victim.post('/admin/sign-in', { csrf: csrfIn(text), ...right });
  expect(victim.cookies.get(`ticketmaild-${new URL(page.address).port}`)).not.toBe(planted);
  expect((await attacker.get('/admin/overview')).headers.location).toBe('/admin/sign-in');
  expect((await victim.get('/admin/overview')).status).toBe(200);
});

test('signing out ends the session and takes the cookie back', async () => {
  const user = await signedIn(page);
  const token = user.cookies.get(`ticketmaild-${new URL(page.address).port}`) ?? '';
  const got = await user.post('/admin/sign-out', { csrf: user.csrf });
  expect([got.status, got.headers.location, user.cookies.size]).toEqual([303, '/admin/sign-in', 0]);
  user.cookies.set(`ticketmaild-${new URL(page.address).port}`, token);
  expect((await user.get('/admin/overview')).headers.location).toBe('/admin/sign-in');
});

test.each(['', 'short', 'x'.repeat(44), 'a b', '%41'.repeat(43), '../'.repeat(14)])(
  'a cookie of another form (%j) is looked up nowhere',
  async (value) => {
    service.uses.length = 0;
    const user = browser(page);
    const { port } = new URL(page.address);
    user.cookies.set(`ticketmaild-${port}`, value);
    user.cookies.set(`ticketmaild-visitor-${port}`, value);
    expect((await user.get('/admin/overview')).headers.location).toBe('/admin/sign-in');
    const { text, set } = await user.get('/admin/sign-in');
    expect(set).toHaveLength(1);
    expect(csrfIn(text)).toHaveLength(43);
    expect(service.uses).toEqual([]);
  },
);

test('an automatic refresh does not extend the session', async () => {
  const user = await signedIn(page);
  service.uses.length = 0;
  await user.get('/admin/overview?refresh=1');
  await user.get('/admin/overview?show=failing');
  expect(service.uses).toEqual([false, true]);
});

test('the password goes to the service as bytes and is wiped afterwards, whatever the form was', async () => {
  const seen: SecretBytes[] = [];
  const watched = memoryService({
    async signIn(_name, password) {
      seen.push(password);
      expect(password).toBeInstanceOf(SecretBytes);
      return { kind: 'refused' };
    },
  });
  await using own = await openPage(watched);
  const user = browser(own);
  const { text } = await user.get('/admin/sign-in');
  await user.post('/admin/sign-in', { csrf: csrfIn(text), name: 'ada', password: 'canary' });
  expect(seen).toHaveLength(1);
  expect(() => seen[0]?.use(() => 1)).toThrow('after wipe');
});

test('a browser with the cookie of an ended session is shown that it ended, and a stranger is not', async () => {
  const user = await signedIn(page);
  const text = 'You were signed out: the session was idle for too long, or the password was changed.';
  expect((await browser(page).get('/admin/sign-in')).text).not.toContain(text);
  service.sessions.clear();
  expect((await user.get('/admin/overview')).headers.location).toBe('/admin/sign-in');
  const shown = await user.get('/admin/sign-in');
  expect(shown.text).toContain(text);
  const got = await user.post('/admin/sign-in', { csrf: csrfIn(shown.text), name: adminName, password: 'wrong' });
  expect(got.text).not.toContain(text);
});

test('where there is no account, the page says how one is made', async () => {
  await using own = await openPage(memoryService({ hasNoAccount: async () => true }));
  expect((await browser(own).get('/admin/sign-in')).text).toContain('There is no admin account');
});

test('behind https the cookies are secure and of this host alone', async () => {
  await using own = await openPage(service, { origin: 'https://desk.example.org' });
  const user = browser(own);
  const host = { host: 'desk.example.org', origin: 'https://desk.example.org' };
  const shown = await user.get('/admin/sign-in', host);
  expect(shown.headers['strict-transport-security']).toBe('max-age=604800');
  expect(shown.set).toEqual([
    expect.stringMatching(/^__Host-ticketmaild-visitor=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict$/),
  ]);
  const got = await user.post('/admin/sign-in', { csrf: csrfIn(shown.text), ...right }, host);
  expect(got.set[0]).toMatch(/^__Host-ticketmaild=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict$/);
  expect((await user.get('/admin/sign-in')).status).toBe(421);
});
