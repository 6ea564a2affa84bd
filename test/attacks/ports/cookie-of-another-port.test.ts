/**
 * Over http, a page at another port of the same host gets the cookies of every port and can set any: a session of one
 * listener opens nothing at another, and a planted one is not taken. Over https the cookie belongs to one origin.
 */
import { expect, test } from 'vitest';
import { cookieSettings } from '../../../src/adapters/web/http/form.ts';
import { memoryService } from '../../adapters/web/memory-service.ts';
import { browser, openPage, signedIn } from '../../adapters/web/page-client.ts';

test('a session that was opened at one port is not accepted at another, although the browser sends it', async () => {
  const service = memoryService();
  await using one = await openPage(service);
  await using other = await openPage(service);
  const { cookies } = await signedIn(one);
  const visitor = browser(other);
  for (const [name, value] of cookies) visitor.cookies.set(name, value);
  expect((await visitor.get('/admin/overview')).headers.location).toBe('/admin/sign-in');
});

test('signing in at one port does not end the session at another in the same browser', async () => {
  const service = memoryService();
  await using one = await openPage(service);
  await using other = await openPage(service);
  const first = await signedIn(one);
  const second = await signedIn(other);
  const both = browser(one);
  for (const [name, value] of [...first.cookies, ...second.cookies]) both.cookies.set(name, value);
  expect((await both.get('/admin/overview')).status).toBe(200);
});

test('over https the name forbids every other origin to set it', () => {
  expect(cookieSettings(true, 'desk.example.org:8443')).toMatchObject({
    session: '__Host-ticketmaild',
    attributes: { secure: true, path: '/' },
  });
});
