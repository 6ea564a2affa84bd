/** Redirect endpoint of OAuth 2: an answer without the cookie, the form that it becomes, and what is refused. */
import { expect, test } from 'vitest';
import { memoryService } from '../memory-service.ts';
import { browser, openPage, signedIn } from '../page-client.ts';

const callback = '/admin/oauth/callback';
const answer = '?code=c0de&state=st4te';

test('begins with a link for the browser, to come back at the origin of the page', async () => {
  const service = memoryService();
  await using page = await openPage(service);
  const user = await signedIn(page);
  service.done.length = 0;
  const got = await user.post('/admin/mailbox/connect', { csrf: user.csrf, name: 'desk', provider: 'm365' });
  expect(got.status).toBe(200);
  expect(service.done).toEqual([`connect desk m365 ${page.address}${callback} ada`]);
  expect(got.text).toContain('rel="noreferrer" href="https://login.microsoftonline.com/');
  for (const fields of [{ name: 'desk' }, { name: '', provider: 'm365' }, { name: 'desk', provider: 'a b' }])
    expect((await user.post('/admin/mailbox/connect', { csrf: user.csrf, ...fields } as never)).status).toBe(422);
  expect((await user.post('/admin/mailbox/connect', { name: 'desk', provider: 'm365' })).status).toBe(403);
});

test('the redirect shows a page without its data, in no Referer', async () => {
  const service = memoryService();
  await using page = await openPage(service);
  const { status, text, headers } = await browser(page).get(`${callback}${answer}`);
  expect([status, headers['referrer-policy'], headers['cache-control']]).toEqual([200, 'strict-origin', 'no-store']);
  expect(text).toContain('data-callback');
  expect(text).not.toMatch(/c0de|st4te/);
  expect([service.done, service.refusals]).toEqual([[], []]);
});

test.each([
  ['with a script', callback, { answer }, `finish ${answer}`],
  ['without one', `${callback}${answer}`, { answer: '' }, 'finish code=c0de&state=st4te'],
])('%s the form is sent with the cookie, and leads to the mailbox', async (_name, path, fields, line) => {
  const service = memoryService();
  await using page = await openPage(service);
  const user = await signedIn(page);
  service.done.length = 0;
  const got = await user.post(path, fields);
  expect([got.status, got.headers.location]).toEqual([303, '/admin/mailbox?name=desk']);
  expect(service.done).toEqual([line]);
  expect((await user.get('/admin/mailbox?name=desk')).text).toContain('The sign-in is stored.');
});

test('is refused without a session, from another site, and for what is not ours, which the audit has without its data', async () => {
  const service = memoryService({
    finishSignIn: async () => ({ mailbox: null, isDone: false, sentence: 'Not begun here.' }),
  });
  await using page = await openPage(service);
  const stranger = await browser(page).post(callback, { answer });
  expect([stranger.status, stranger.headers.location]).toEqual([303, '/admin/sign-in']);
  const user = await signedIn(page);
  expect((await user.post(callback, { answer }, { origin: 'https://evil.test' })).status).toBe(403);
  const foreign = await user.post(callback, { answer });
  expect([foreign.status, foreign.headers.location]).toEqual([303, '/admin/overview']);
  expect((await user.get('/admin/overview')).text).toContain('Not begun here.');
  expect(service.refusals.map(({ reason, about }) => `${reason} ${about}`)).toEqual([
    'not_signed_in oauth callback',
    'foreign_origin oauth callback',
    'not_possible_now oauth callback',
  ]);
  expect(JSON.stringify([service.refusals, page.lines])).not.toMatch(/c0de|st4te/);
});
