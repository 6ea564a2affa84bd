import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { createHosts } from '../../../src/ingest/scheduler/circuit-breaker.ts';
import { handClock } from '../samples.ts';

const refused = new Failure('connect_refused', 'nobody there');
const mail = { host: 'mail', port: 993 };

function scene() {
  const clock = handClock();
  return { clock, hosts: createHosts(clock, () => 0) };
}

test('after two visits in a row that reach nobody the server is left alone, and one mailbox tries', () => {
  const { clock, hosts } = scene();
  hosts.ended(mail, 'a', refused);
  expect(hosts.admits(mail)).toBe(true);
  hosts.ended(mail, 'b', refused);
  expect(hosts.admits(mail)).toBe(false);
  expect(hosts.admits({ host: 'mail', port: 143 })).toBe(true);
  expect(hosts.list()).toMatchObject([{ host: 'mail', reason: 'connect_refused: nobody there' }]);
  clock.at.ms += 2000;
  expect(hosts.admits(mail)).toBe(true);
  hosts.began(mail, 'c');
  expect(hosts.admits(mail)).toBe(false);
});

test('the waits grow to a minute, and what was on its way counts once', () => {
  const { clock, hosts } = scene();
  for (const id of ['a', 'b', 'c', 'd', 'e']) hosts.ended(mail, id, refused);
  const waits: number[] = [];
  for (let tries = 0; tries < 8; tries += 1) {
    let waitedMs = 0;
    for (; !hosts.admits(mail); waitedMs += 500) clock.at.ms += 500;
    waits.push(waitedMs / 1000);
    hosts.began(mail, 'a');
    hosts.ended(mail, 'a', refused);
  }
  expect(waits).toEqual([2, 4, 8, 16, 32, 60, 60, 60]);
});

test('the first that gets through brings all of them back, and says that it is news', () => {
  const { clock, hosts } = scene();
  hosts.ended(mail, 'a', refused);
  hosts.ended(mail, 'b', refused);
  clock.at.ms += 2000;
  hosts.began(mail, 'a');
  expect(hosts.ended(mail, 'a', null)).toBe('back');
  expect(hosts.admits(mail)).toBe(true);
  expect(hosts.list()).toEqual([]);
  expect(hosts.ended(mail, 'b', null)).toBeNull();
});

test('a refused password shows that the server is there; a database that is away shows nothing', () => {
  const { hosts } = scene();
  hosts.ended(mail, 'a', refused);
  hosts.ended(mail, 'b', new Failure('login_refused', 'no'));
  hosts.ended(mail, 'c', refused);
  expect(hosts.admits(mail)).toBe(true);
  hosts.ended(mail, 'd', new Failure('database_unavailable', 'away'));
  hosts.ended(mail, 'e', refused);
  expect(hosts.admits(mail)).toBe(false);
});

test('a try that ends before it reached anybody leaves the next one to another mailbox', () => {
  const { clock, hosts } = scene();
  hosts.ended(mail, 'a', refused);
  hosts.ended(mail, 'b', refused);
  clock.at.ms += 2000;
  hosts.began(mail, 'a');
  hosts.ended(mail, 'a', new Failure('lease_taken', 'another worker'));
  expect(hosts.admits(mail)).toBe(true);
});

test('a server that is silent before anybody says a name is in trouble, one that is silent later is not', () => {
  const { hosts } = scene();
  const silent = (stage: string) => new Failure('server_timeout', 'silent', { fields: { stage } });
  hosts.ended(mail, 'a', silent('greeting'));
  hosts.ended(mail, 'b', silent('login'));
  hosts.ended(mail, 'c', silent('greeting'));
  expect(hosts.admits(mail)).toBe(true);
  hosts.ended(mail, 'd', silent('greeting'));
  expect(hosts.admits(mail)).toBe(false);
});

test('what failed beside the try, of before the server went, does not bring it back', () => {
  const { clock, hosts } = scene();
  hosts.ended(mail, 'old', null);
  hosts.ended(mail, 'a', refused);
  hosts.ended(mail, 'b', refused);
  const late = [new Failure('server_timeout', 'silent while fetching mails'), new Failure('login_refused', 'no')];
  for (const failure of late) expect(hosts.ended(mail, 'old', failure)).toBeNull();
  expect(hosts.admits(mail)).toBe(false);
  clock.at.ms += 2000;
  hosts.began(mail, 'c');
  expect(hosts.ended(mail, 'c', new Failure('login_refused', 'no'))).toBe('back');
});

test.each<[string, Failure['code'], string | null, boolean]>([
  ['resets connections at once', 'connection_lost', 'connect', true],
  ['breaks the handshake off', 'tls_failed', 'tls', true],
  ['says goodbye in place of a greeting', 'server_busy', 'greeting', true],
  ['agrees on no TLS with us', 'tls_failed', null, false],
  ['shows a certificate that has expired', 'tls_expired', null, false],
  ['has no room for one user', 'server_busy', 'login', false],
  ['breaks a session off', 'connection_lost', null, false],
])('a server that %s: %s at stage %s, left alone: %s', (_, code, stage, isLeftAlone) => {
  const { hosts } = scene();
  const failure = new Failure(code, 'no', { fields: stage === null ? {} : { stage } });
  for (const id of ['a', 'b']) hosts.ended(mail, id, failure);
  expect(hosts.admits(mail)).toBe(!isLeftAlone);
});

test('too many open files here say nothing about the server', () => {
  const { hosts } = scene();
  for (const id of ['a', 'b', 'c'])
    hosts.ended(mail, id, new Failure('connect_refused', 'no', { fields: { cause: 'EMFILE' } }));
  expect(hosts.admits(mail)).toBe(true);
});
