/**
 * Switching encryption on, rotating the key and switching off end well however they are killed on the way. The long form of
 * this, with a kill before every effect, is `npm run bench -- switch-kills`.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { killRun, operations } from '../../bench/kills.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';

/** Few moments, others in each run of the tests. */
const stride = 28;

let dovecot: Dovecot;
let mariadb: Mariadb;

beforeAll(async () => {
  [dovecot, mariadb] = await Promise.all([startDovecot(), startMariadb()]);
});

afterAll(async () => {
  await dovecot?.[Symbol.asyncDispose]();
  await mariadb?.[Symbol.asyncDispose]();
});

test.each(operations)(
  '%s, killed before one of its effects and run again, ends as if nothing had happened',
  async (operation) => {
    const first = 1 + Math.floor(Math.random() * stride);
    const report = await killRun(operation, { dovecot, mariadb, stride, first, progress: () => undefined });
    expect(report).toMatchObject({ failed: [], finished: report.kills });
    expect(report.kills).toBeGreaterThan(0);
  },
  120_000,
);
