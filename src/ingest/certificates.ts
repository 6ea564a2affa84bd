/**
 * When the certificates end that mail servers showed: told before they do, and only as long as somebody goes there.
 */

import type { Clock } from '../async/clock.ts';
import { type Server, serverKey } from './hosts.ts';
import type { CertificateCheck, Readiness } from './readiness.ts';

const daysMin = 14;
const keptMax = 1000;
const dayMs = 86_400_000;
/** A little more than the longest interval: who has not seen it for so long knows nothing of its successor. */
const seenMsMax = 25 * 3_600_000;

export interface Certificates {
  /** A server has just shown one. */
  note(host: string, port: number, endsAtMs: number): void;
  /** Those of servers that are used. */
  check(isUsed: (server: Server) => boolean): Readiness['checks']['certificates'];
}

type Seen = Server & { readonly endsAtMs: number; readonly seenAtMs: number };

export function createCertificates(clock: Clock): Certificates {
  const seen = new Map<string, Seen>();
  return {
    note: (host, port, endsAtMs) => {
      const key = serverKey({ host, port });
      seen.delete(key);
      seen.set(key, { host, port, endsAtMs, seenAtMs: clock.monotonicMs() });
      const [oldest] = seen.keys();
      if (seen.size > keptMax && oldest !== undefined) seen.delete(oldest);
    },
    check: (isUsed) => {
      const sinceMs = clock.monotonicMs() - seenMsMax;
      return checkOf(
        [...seen.values()].filter((one) => one.seenAtMs >= sinceMs && isUsed(one)),
        clock.nowMs(),
      );
    },
  };
}

function checkOf(known: readonly Seen[], nowMs: number): Readiness['checks']['certificates'] {
  const list: readonly CertificateCheck[] = known
    .map(({ host, port, endsAtMs }) => ({
      ...{ host, port, valid_until: new Date(endsAtMs).toISOString() },
      days_left: Math.floor((endsAtMs - nowMs) / dayMs),
    }))
    .sort((a, b) => a.days_left - b.days_left);
  const [first] = list;
  if (first === undefined || first.days_left >= daysMin)
    return { status: 'ok', since: null, reason: null, hint: null, list };
  const reason = `the certificate of ${first.host}:${first.port} ends in ${first.days_left} days`;
  return { status: 'warning', since: null, reason, hint: 'Have it renewed on the mail server.', list };
}
