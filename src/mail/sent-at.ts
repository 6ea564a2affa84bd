/**
 * Reads the Date field (RFC 5322 sections 3.3 and 4.3).
 *
 * Tolerates what mailers write: no weekday, two-digit years, no seconds, named zones, dots between the digits, the
 * order of C's `asctime`, ISO 8601. A missing or unknown zone counts as UTC, never as the zone of this machine.
 * Impossible dates and those before 1970 are unreadable.
 */

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** RFC 5322 section 4.3, hours east of Greenwich. */
const zoneHours: Readonly<Record<string, number>> = {
  est: -5,
  edt: -4,
  cst: -6,
  cdt: -5,
  mst: -7,
  mdt: -6,
  pst: -8,
  pdt: -7,
};

const usualDate =
  /(?<day>\d{1,2})[\s.-]+(?<month>[a-z]{3})[a-z]*[\s.,-]+(?<year>\d{2,4})[\s,]+(?<hour>\d{1,2})[:.](?<minute>\d{1,2})(?:[:.](?<second>\d{1,2}))?(?:\.\d+)?\s*(?<zone>[+-]\s?\d{4}|[a-z]{1,5})?/iu;
const asctime =
  /(?<month>[a-z]{3})\s+(?<day>\d{1,2}),?\s+(?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2}))?\s+(?<zone>[a-z]{1,5}\s+)?(?<year>\d{4})/iu;
const iso =
  /(?<year>\d{4})-(?<month>\d{2})-(?<day>\d{2})[\sT]+(?<hour>\d{2}):(?<minute>\d{2})(?::(?<second>\d{2}))?(?:\.\d+)?\s*(?<zone>[+-]\d{2}:?\d{2}|Z)?/u;

/** Milliseconds since 1970 (UTC), or null. `value` is the unfolded field. */
export function readSentAt(value: string): number | null {
  const text = value.slice(0, 200);
  const groups = (usualDate.exec(text) ?? asctime.exec(text) ?? iso.exec(text))?.groups;
  if (groups === undefined) return null;
  const number = (name: string) => Number(groups[name] ?? 0);
  const year = fullYear(number('year'), groups.year?.length ?? 0);
  const month = readMonth(groups.month ?? '');
  const [day, hour, minute, second] = [number('day'), number('hour'), number('minute'), number('second')];
  if (month < 0 || month > 11 || hour > 23 || minute > 59 || second > 60) return null;
  const localMs = Date.UTC(year, month, day, hour, minute, second);
  if (new Date(Date.UTC(year, month, day)).getUTCDate() !== day) return null;
  const ms = localMs - zoneMinutes(groups.zone ?? '') * 60_000;
  return ms < 0 ? null : ms;
}

/** RFC 5322 section 4.3: 00 to 49 is 20xx, 50 to 99 is 19xx, three digits are years since 1900. */
function fullYear(year: number, digits: number): number {
  if (digits === 4) return year;
  return digits === 2 && year < 50 ? year + 2000 : year + 1900;
}

function readMonth(text: string): number {
  return /^\d/u.test(text) ? Number(text) - 1 : months.indexOf(text.toLowerCase());
}

function zoneMinutes(zone: string): number {
  const numeric = /(?<sign>[+-])\s?(?<hours>\d{2}):?(?<minutes>\d{2})/u.exec(zone)?.groups;
  if (numeric === undefined) return (zoneHours[zone.trim().toLowerCase()] ?? 0) * 60;
  const minutes = Number(numeric.hours) * 60 + Number(numeric.minutes);
  return numeric.sign === '-' ? -minutes : minutes;
}
