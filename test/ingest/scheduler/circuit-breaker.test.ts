import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { createCircuitBreaker } from '../../../src/ingest/scheduler/circuit-breaker.ts';
import { handClock } from '../samples.ts';

const refused = new Failure('connect_refused', 'nobody there');
const mail = { host: 'mail', port: 993, tls: 'implicit' } as const;

function scene() {
  const clock = handClock();
  return { clock, breaker: createCircuitBreaker(clock, () => 0) };
}

test('opens after two failed connections in a row, and lets one mailbox probe', () => {
  const { clock, breaker } = scene();
  breaker.attemptEnded(mail, 'a', refused);
  expect(breaker.allows(mail)).toBe(true);
  breaker.attemptEnded(mail, 'b', refused);
  expect(breaker.allows(mail)).toBe(false);
  expect(breaker.allows({ ...mail, port: 143 })).toBe(true);
  expect(breaker.openCircuits()).toMatchObject([{ host: 'mail', failure: refused }]);
  clock.at.ms += 2000;
  expect(breaker.allows(mail)).toBe(true);
  breaker.attemptStarted(mail, 'c');
  expect(breaker.allows(mail)).toBe(false);
});

test('the delay before a probe grows to a minute, and attempts in progress count once', () => {
  const { clock, breaker } = scene();
  for (const id of ['a', 'b', 'c', 'd', 'e']) breaker.attemptEnded(mail, id, refused);
  const waits: number[] = [];
  for (let tries = 0; tries < 8; tries += 1) {
    let waitedMs = 0;
    for (; !breaker.allows(mail); waitedMs += 500) clock.at.ms += 500;
    waits.push(waitedMs / 1000);
    breaker.attemptStarted(mail, 'a');
    breaker.attemptEnded(mail, 'a', refused);
  }
  expect(waits).toEqual([2, 4, 8, 16, 32, 60, 60, 60]);
});

test('the first attempt that gets through closes it, which is returned once', () => {
  const { clock, breaker } = scene();
  breaker.attemptEnded(mail, 'a', refused);
  breaker.attemptEnded(mail, 'b', refused);
  clock.at.ms += 2000;
  breaker.attemptStarted(mail, 'a');
  expect(breaker.attemptEnded(mail, 'a', null)).toBe('closed');
  expect(breaker.allows(mail)).toBe(true);
  expect(breaker.openCircuits()).toEqual([]);
  expect(breaker.attemptEnded(mail, 'b', null)).toBeNull();
});

test('a refused password shows that the server works; an unreachable database shows nothing', () => {
  const { breaker } = scene();
  breaker.attemptEnded(mail, 'a', refused);
  breaker.attemptEnded(mail, 'b', new Failure('login_refused', 'no'));
  breaker.attemptEnded(mail, 'c', refused);
  expect(breaker.allows(mail)).toBe(true);
  breaker.attemptEnded(mail, 'd', new Failure('database_unavailable', 'away'));
  breaker.attemptEnded(mail, 'e', refused);
  expect(breaker.allows(mail)).toBe(false);
});

test('a probe that ends before it connected leaves the next one to another mailbox', () => {
  const { clock, breaker } = scene();
  breaker.attemptEnded(mail, 'a', refused);
  breaker.attemptEnded(mail, 'b', refused);
  clock.at.ms += 2000;
  breaker.attemptStarted(mail, 'a');
  breaker.attemptEnded(mail, 'a', new Failure('lease_taken', 'another worker'));
  expect(breaker.allows(mail)).toBe(true);
});

test('a server that is silent before the login fails for all, one that is silent later does not', () => {
  const { breaker } = scene();
  const silent = (stage: string) => new Failure('server_timeout', 'silent', { fields: { stage } });
  breaker.attemptEnded(mail, 'a', silent('greeting'));
  breaker.attemptEnded(mail, 'b', silent('login'));
  breaker.attemptEnded(mail, 'c', silent('greeting'));
  expect(breaker.allows(mail)).toBe(true);
  breaker.attemptEnded(mail, 'd', silent('greeting'));
  expect(breaker.allows(mail)).toBe(false);
});

test('a failure beside the probe, from before the outage, does not close it', () => {
  const { clock, breaker } = scene();
  breaker.attemptEnded(mail, 'old', null);
  breaker.attemptEnded(mail, 'a', refused);
  breaker.attemptEnded(mail, 'b', refused);
  const late = [new Failure('server_timeout', 'silent while fetching messages'), new Failure('login_refused', 'no')];
  for (const failure of late) expect(breaker.attemptEnded(mail, 'old', failure)).toBeNull();
  expect(breaker.allows(mail)).toBe(false);
  clock.at.ms += 2000;
  breaker.attemptStarted(mail, 'c');
  expect(breaker.attemptEnded(mail, 'c', new Failure('login_refused', 'no'))).toBe('closed');
});

test.each<[string, Failure['code'], string | null, boolean]>([
  ['resets connections immediately', 'connection_lost', 'connect', true],
  ['aborts the handshake', 'tls_failed', 'tls', true],
  ['sends BYE instead of a greeting', 'server_busy', 'greeting', true],
  ['has no TLS version in common', 'tls_failed', null, false],
  ['presents an expired certificate', 'tls_expired', null, false],
  ['has too many connections of one user', 'server_busy', 'login', false],
  ['drops a session', 'connection_lost', null, false],
])('a server that %s: %s at stage %s, opens the circuit: %s', (_, code, stage, isOpened) => {
  const { breaker } = scene();
  const failure = new Failure(code, 'no', { fields: stage === null ? {} : { stage } });
  for (const id of ['a', 'b']) breaker.attemptEnded(mail, id, failure);
  expect(breaker.allows(mail)).toBe(!isOpened);
});

test('a mailbox with another TLS mode, or with a certificate or login of its own that fails, delays no other', () => {
  const { clock, breaker } = scene();
  const own = { ...mail, tls: 'starttls' } as const;
  const silent = new Failure('connect_timeout', 'no greeting', { fields: { cause: 'GREETING_TIMEOUT' } });
  for (let tries = 0; tries < 5; tries += 1) {
    breaker.attemptEnded(own, 'wrong', silent);
    clock.at.ms += 60_000;
    breaker.attemptStarted(own, 'wrong');
  }
  breaker.attemptEnded(own, 'wrong', silent);
  expect([breaker.allows(mail), breaker.allows(own)]).toEqual([true, false]);
  expect(breaker.openCircuits()).toMatchObject([{ host: 'mail', port: 993, tls: 'starttls' }]);
  for (const code of ['tls_untrusted', 'tls_pin_mismatch', 'login_refused', 'folder_missing'] as const)
    for (let tries = 0; tries < 5; tries += 1) breaker.attemptEnded(mail, 'other', new Failure(code, 'no'));
  expect(breaker.allows(mail)).toBe(true);
});

test('authorities of a mailbox that cannot be read say nothing about the server: the circuit stays open', () => {
  const { clock, breaker } = scene();
  for (const id of ['a', 'b']) breaker.attemptEnded(mail, id, refused);
  clock.at.ms += 2000;
  breaker.attemptStarted(mail, 'c');
  const unreadable = new Failure('tls_untrusted', 'no certificate', { fields: { cause: 'ca_pem' } });
  expect(breaker.attemptEnded(mail, 'c', unreadable)).toBeNull();
  expect(breaker.openCircuits()).toHaveLength(1);
});

test('too many open files here say nothing about the server', () => {
  const { breaker } = scene();
  for (const id of ['a', 'b', 'c'])
    breaker.attemptEnded(mail, id, new Failure('connect_refused', 'no', { fields: { cause: 'EMFILE' } }));
  expect(breaker.allows(mail)).toBe(true);
});

test("a person's request makes one probe due, which answers all requests before it", () => {
  const { clock, breaker } = scene();
  for (const id of ['a', 'b']) breaker.attemptEnded(mail, id, refused);
  const firstMs = clock.monotonicMs();
  expect([breaker.allows(mail), breaker.allows(mail, firstMs)]).toEqual([false, true]);
  clock.at.ms += 10;
  breaker.attemptStarted(mail, 'a');
  const laterMs = clock.monotonicMs() + 10;
  clock.at.ms += 20;
  expect([breaker.allows(mail, firstMs), breaker.allows(mail, laterMs)]).toEqual([false, false]);
  breaker.attemptEnded(mail, 'a', refused);
  expect([breaker.allows(mail, firstMs), breaker.allows(mail, laterMs)]).toEqual([false, true]);
});
