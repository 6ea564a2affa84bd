/**
 * Crash safety of the daemon: SIGKILL at random moments loses and doubles no message. `npm run bench -- crash` is the
 * same with 2,000 messages and 40 kills.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { crashRun } from '../../bench/ingest/crash.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { noFindings } from '../../support/verification.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

beforeAll(async () => {
  [dovecot, mariadb] = await Promise.all([startDovecot(), startMariadb({ durable: true })]);
});

afterAll(async () => {
  await dovecot?.[Symbol.asyncDispose]();
  await mariadb?.[Symbol.asyncDispose]();
});

const databases = ['mariadb', 'sqlite'] as const;

describe.each([
  { kills: 4, count: 150, tags: [] },
  { kills: 16, count: 600, tags: ['long'] },
])('$kills kills during $count messages', ({ kills, count, tags }) => {
  test.each(databases)(
    'lose nothing, double nothing, leave no ticket empty and no attachment missing (%s)',
    { timeout: 180_000, tags },
    async (database) => {
      const servers = { dovecot, mariadb: database === 'mariadb' ? mariadb : null };
      const report = await crashRun(servers, { count, kills, seed: Date.now(), lifeMsMax: 250 }, () => undefined);
      expect(report.verification).toMatchObject({ messages: count, findings: noFindings });
      expect(report).toMatchObject({ exact: true, seen: count, reconciled: true });
      expect(report.killsAtWork).toBeGreaterThanOrEqual(kills / 2);
    },
  );
});
