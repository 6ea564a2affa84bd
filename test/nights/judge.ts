/**
 * Judge of a night: what the looks at the surfaces and the canaries say together. Pure.
 *
 * False ok: a surface says that a mailbox is ok while a canary of it is overdue, that is older than its mail may take,
 * and not in the database. A look stands for the time until the next one of its surface. A surface that has just turned
 * to ok has a moment until the mail that waited is in.
 */
import type { Canary } from './canaries.ts';
import { type Look, lookMs, type Surface, surfaces } from './surfaces.ts';

export type FalseOk = Readonly<Record<Surface, number>>;

/** Canaries are looked for twice a second, and a look takes its time too. */
const slackMs = 1_500;
const catchUpMs = 3_000;

/** Seconds by surface. `ageMsMax`: how long the mail of a mailbox may take while it is said to be ok. */
export function falseOk(
  looks: readonly Look[],
  canaries: readonly Canary[],
  ageMsMax: (mailbox: string) => number,
): FalseOk {
  const seconds = surfaces.map((surface) => {
    const own = looks.filter((look) => look.surface === surface);
    const wrongMs = own.map((look, index) => {
      const next = own[index + 1]?.askedAtMs ?? look.askedAtMs + lookMs(surface);
      const isWrong = overdue(look, canaries, ageMsMax).some((mailbox) => hasSaidOk(own.slice(0, index + 1), mailbox));
      return isWrong ? Math.min(next - look.askedAtMs, lookMs(surface) + slackMs) : 0;
    });
    return [surface, Math.round(wrongMs.reduce((sum, ms) => sum + ms, 0) / 1000)] as const;
  });
  return Object.fromEntries(seconds) as FalseOk;
}

/** The last look says so, and so did those of the moment before it. */
function hasSaidOk(looks: readonly Look[], mailbox: string): boolean {
  const since = (looks.at(-1)?.askedAtMs ?? 0) - catchUpMs;
  const before = looks.findLastIndex(({ askedAtMs }) => askedAtMs < since);
  return looks.slice(Math.max(0, before)).every((look) => saysOk(look, mailbox));
}

function saysOk({ ok }: Look, mailbox: string): boolean {
  return ok === 'all' || ok.has(mailbox);
}

/** Mailboxes with a canary that was overdue when the look was asked for, and still not there with its answer. */
function overdue({ askedAtMs, atMs }: Look, canaries: readonly Canary[], ageMsMax: (mailbox: string) => number) {
  const late = canaries.filter(
    ({ mailbox, sentAtMs, arrivedAtMs }) =>
      sentAtMs + ageMsMax(mailbox) + slackMs < askedAtMs && (arrivedAtMs === null || arrivedAtMs > atMs),
  );
  return [...new Set(late.map(({ mailbox }) => mailbox))];
}

/** What a sign is about, without what changes from look to look. */
export function signKey(sign: string): string {
  return sign.replace(/:.*$/s, '');
}

/** Signs of a look that are not among those known before. */
export function newSigns(look: Look, known: ReadonlySet<string>): readonly string[] {
  return look.signs.filter((sign) => !known.has(signKey(sign)));
}

export type Seen = { readonly afterMs: number; readonly by: string };

/** The first look since then with a new sign that fits. */
export function firstSign(
  looks: readonly Look[],
  since: number,
  known: ReadonlySet<string>,
  fits: RegExp,
): Seen | null {
  for (const look of looks.toSorted((one, other) => one.atMs - other.atMs)) {
    const sign = look.askedAtMs < since ? undefined : newSigns(look, known).find((one) => fits.test(one));
    if (sign !== undefined) return { afterMs: look.atMs - since, by: `${look.surface}: ${sign}` };
  }
  return null;
}

/** When the last look with a new sign was answered; null: there is none since then. */
export function lastSignAtMs(looks: readonly Look[], since: number, known: ReadonlySet<string>): number | null {
  const bad = looks.filter((look) => look.askedAtMs >= since && newSigns(look, known).length > 0);
  return bad.length === 0 ? null : Math.max(...bad.map(({ atMs }) => atMs));
}
