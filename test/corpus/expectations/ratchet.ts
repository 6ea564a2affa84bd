/**
 * Ratchet: what was met before must be met now. `ratchet.json` holds met and stated for each source and field, and
 * the floors hold whatever it says. A figure that rises is written down by `--write`; one that falls never is.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { percent } from '../report.ts';
import { type Checked, type Met, metBy, metOf, share } from './tally.ts';

type Ratchet = Readonly<Record<string, Readonly<Record<string, readonly [met: number, stated: number]>>>>;

const path = join(import.meta.dirname, 'ratchet.json');

/** Of all stated fields, and of those that decide whom the helpdesk writes to. */
const floors: readonly { readonly field: string | null; readonly least: number }[] = [
  { field: null, least: 0.97 },
  { field: 'is_bounce', least: 0.95 },
  { field: 'bounced_recipients', least: 0.95 },
];

export function readRatchet(): Ratchet {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
}

export function floorViolations(checks: readonly Checked[]): readonly string[] {
  return floors.flatMap(({ field, least }) => {
    const met = metOf(checks.filter((check) => field === null || check.field === field));
    const what = field ?? 'in all';
    return share(met) >= least ? [] : [`${what}: ${percent(met)} % of what is stated, less than ${100 * least} %`];
  });
}

/** Also for a group that is not there any more: what is not compared cannot be met. */
export function ratchetViolations(checks: readonly Checked[], ratchet: Ratchet): readonly string[] {
  const now = groups(checks);
  return Object.entries(ratchet).flatMap(([source, fields]) =>
    Object.entries(fields).flatMap(([field, [met, stated]]) => {
      const current = now.get(`${source}\t${field}`) ?? { met: 0, stated: 0 };
      if (current.stated > 0 && current.met * stated >= met * current.stated) return [];
      return [`${source}, ${field}: ${current.met} of ${current.stated}, before it was ${met} of ${stated}`];
    }),
  );
}

export function writeRatchet(checks: readonly Checked[]): void {
  const written: Record<string, Record<string, readonly [number, number]>> = {};
  for (const [name, { met, stated }] of groups(checks)) {
    const [source = '', field = ''] = name.split('\t');
    written[source] = { ...written[source], [field]: [met, stated] };
  }
  // One line a source and field: a change is one line of a patch.
  const text = JSON.stringify(written, null, 2).replace(/\[\s+(\d+),\s+(\d+)\s+\]/gu, '[$1, $2]');
  writeFileSync(path, `${text}\n`);
}

function groups(checks: readonly Checked[]): ReadonlyMap<string, Met> {
  return metBy(checks, ({ mail, field }) => `${mail.source}\t${field}`);
}
