/**
 * Crash safety of the switch operations: enable, rotate and disable, each killed with SIGKILL before one of its
 * effects, other ones in each run. `npm run bench -- switch-kills` kills before every effect.
 */

import { describe, expect, test } from 'vitest';
import { killRun, operations } from '../../bench/encryption/kills.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

describe.each([
  { stride: 56, tags: [] },
  { stride: 14, tags: ['long'] },
])('one effect of $stride', ({ stride, tags }) => {
  test.each(operations)(
    '%s, killed before it and run again, ends as if nothing had happened',
    { timeout: 240_000, tags },
    async (operation) => {
      const first = 1 + Math.floor(Math.random() * stride);
      const report = await killRun(operation, { dovecot, mariadb, stride, first, progress: () => undefined });
      expect(report).toMatchObject({ failed: [], finished: report.kills });
      expect(report.kills).toBeGreaterThan(0);
    },
  );
});
