/** Counts how many stated fields are met, per source and field. */
import type { Check } from './rules.ts';
import type { CorpusMail } from './stated.ts';

export type Met = { readonly met: number; readonly stated: number };

/**
 * A check of a message. `key` names it among those of the message: the field, and its place where there are several.
 */
export type Checked = Check & { readonly mail: CorpusMail; readonly key: string };

/** Gives each check of one message its key. */
export function keyed(mail: CorpusMail, checks: readonly Check[]): readonly Checked[] {
  const seen = new Map<string, number>();
  return checks.map((check) => {
    const place = (seen.get(check.field) ?? 0) + 1;
    seen.set(check.field, place);
    return { ...check, mail, key: place === 1 ? check.field : `${check.field} ${place}` };
  });
}

export function metOf(checks: readonly Checked[]): Met {
  return { met: checks.filter(({ met }) => met).length, stated: checks.length };
}

/** By a name of each check, in the order of the names. */
export function metBy(checks: readonly Checked[], nameOf: (check: Checked) => string): ReadonlyMap<string, Met> {
  const groups = Map.groupBy(checks, nameOf);
  return new Map([...groups.keys()].sort().map((name) => [name, metOf(groups.get(name) ?? [])]));
}

export function share({ met, stated }: Met): number {
  return stated === 0 ? 1 : met / stated;
}
