/**
 * Promise two: no mail is lost and none is doubled, whatever dies and when. The long form of this (2,000 mails, 40
 * kills) is `npm run bench -- crash`.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { crashRun } from '../../bench/crash.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

beforeAll(async () => {
  [dovecot, mariadb] = await Promise.all([startDovecot(), startMariadb({ durable: true })]);
});

afterAll(async () => {
  await dovecot?.[Symbol.asyncDispose]();
  await mariadb?.[Symbol.asyncDispose]();
});

test.each(['mariadb', 'sqlite'] as const)(
  'kill -9 at random moments loses nothing, doubles nothing, leaves no ticket empty and no attachment missing (%s)',
  async (database) => {
    const servers = { dovecot, mariadb: database === 'mariadb' ? mariadb : null };
    const count = 300;
    const report = await crashRun(servers, { count, kills: 8, seed: Date.now(), lifeMsMax: 250 }, () => undefined);
    expect(report.verification).toMatchObject({
      lost: [],
      doubled: [],
      emptyTickets: [],
      misplaced: [],
      missingAttachments: [],
      messages: count,
    });
    expect(report).toMatchObject({ exact: true, seen: count, reconciled: true });
    expect(report.killsAtWork).toBeGreaterThanOrEqual(4);
  },
  120_000,
);
