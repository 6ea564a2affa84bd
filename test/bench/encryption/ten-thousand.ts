/**
 * Time and memory of enabling, rotating and disabling with many mailboxes and with a tenth of them:
 * the time is to grow with their number, the memory is not.
 *
 * No mail server is asked. The database syncs every commit, as in production. A command that fails throws with what it
 * printed.
 */

import { newCanary } from '../../support/leaks/canary.ts';
import { runMeasured } from '../../support/processes/child.ts';
import { launcher } from '../../support/processes/launcher.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { addMailboxes, type NewRow } from '../many-mailboxes.ts';
import { disable, enable, openSetting, rotate } from '../setting.ts';

export type SizeFigures = {
  readonly operation: string;
  readonly mailboxes: number;
  readonly wall_s: number;
  readonly cpu_s: number | null;
  readonly peak_rss_mb: number | null;
};

const operations = [
  ['enable', enable],
  ['rotate', rotate],
  ['disable', disable],
] as const;

/** The figures of one size: each operation once, in its order. */
export async function sizeRun(
  mariadb: Mariadb | null,
  mailboxes: number,
  progress: (line: string) => void,
): Promise<readonly SizeFigures[]> {
  await using setting = await openSetting(mariadb);
  await addMailboxes(setting.databaseUrl, manyRows(mailboxes));
  const figures: SizeFigures[] = [];
  for (const [operation, args] of operations) {
    progress(`${operation} with ${mailboxes} mailboxes`);
    const { wallS, cpuS, peakRssMb } = await runMeasured([launcher, ...args], { env: setting.env });
    const rounded = (value: number | null, digits: number) => (value === null ? null : Number(value.toFixed(digits)));
    figures.push({
      operation,
      mailboxes,
      wall_s: Number(wallS.toFixed(2)),
      cpu_s: rounded(cpuS, 2),
      peak_rss_mb: rounded(peakRssMb, 1),
    });
  }
  return figures;
}

/** Each with a password of its own. */
function manyRows(count: number): readonly NewRow[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `mailbox-${index}`,
    host: 'mail.example.test',
    port: 993,
    tls: 'implicit' as const,
    caPem: null,
    user: `user-${index}@example.test`,
    password: newCanary(),
  }));
}
