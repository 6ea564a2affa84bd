/**
 * Promises one to four together, in a short form: workers, database, mail server, key file and network fail while mail
 * keeps coming. The long form is `npm run faults`. That its count can fail is tried on the same messages.
 */
import { expect, test } from 'vitest';
import type { SentMail } from './mail.ts';
import { type FaultOptions, runFaults } from './run.ts';
import type { Scene } from './scene.ts';
import { verify } from './verify.ts';

const options: FaultOptions = {
  seed: Date.now() % 1_000_000,
  minutes: 0,
  workers: 2,
  mailboxes: 8,
  messagesPerS: 4,
  once: true,
  lastS: 4,
  rows: false,
  only: ['worker killed', 'mariadb killed', 'mail cut, all', 'database garbage', 'key file gone'],
  stop: new AbortController().signal,
};

const silent = {
  now: () => undefined,
  meanwhile: () => undefined,
  news: () => undefined,
  counting: () => ({ [Symbol.dispose]: () => undefined }),
  [Symbol.dispose]: () => undefined,
};

/**
 * Makes of one stored message a lost one, of another a doubled one, and of a third a half one; gives what the count
 * says.
 */
async function spoil(scene: Scene, sent: readonly SentMail[]): Promise<readonly string[]> {
  const [lost, doubled, half] = sent.filter(({ kind }) => kind === 'attachment' || kind === 'broken');
  if (lost === undefined || doubled === undefined || half === undefined) throw new Error('too few messages');
  const message = (mail: SentMail): string => `(SELECT id FROM message WHERE subject LIKE '%${mail.mark}%')`;
  await scene.mariadb.query(`USE ${scene.database}; SET foreign_key_checks = 0;
    DELETE FROM outcome WHERE message_id = ${message(lost)};
    DELETE FROM ticket WHERE subject LIKE '%${half.mark}%';
    CREATE TEMPORARY TABLE twice SELECT * FROM message WHERE subject LIKE '%${doubled.mark}%';
    UPDATE twice SET id = UUID(); INSERT INTO message SELECT * FROM twice;`);
  const { wrong, harmed } = await verify(scene, sent);
  expect(harmed.lost).toBeGreaterThan(0);
  expect(harmed.doubled).toBeGreaterThan(0);
  expect(harmed.half).toBeGreaterThan(0);
  const of = (mail: SentMail): readonly string[] => wrong.filter((one) => one.mail === mail).map(({ what }) => what);
  expect(of(lost)).toContain('0 outcomes');
  expect(of(doubled)).toContain('stored more than once');
  expect(of(half)).toContain('its message is in another ticket, or in none');
  return wrong.flatMap(({ mail, what }) => (mail === null ? [what] : []));
}

test('whatever fails is shown, passes without a restart, and costs no message, no half ticket and no password', async () => {
  let ofNoMail: readonly string[] = [];
  const report = await runFaults(options, silent, async (scene, sent) => {
    ofNoMail = await spoil(scene, sent);
  });
  expect(report.violations, JSON.stringify(report.traces, null, 2)).toEqual([]);
  expect(report.faults.map(({ kind }) => kind).toSorted()).toEqual([...(options.only ?? [])].toSorted());
  expect(report.faults.filter(({ judged, visibleAfterMs }) => judged && visibleAfterMs === null)).toEqual([]);
  expect(report.verification.sent).toBeGreaterThan(40);
  expect(ofNoMail).toContainEqual(expect.stringContaining('reconcile'));
}, 120_000);
