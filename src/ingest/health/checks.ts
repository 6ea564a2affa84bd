/**
 * Health checks of what a worker depends on: the database, the certificates of mail servers, and how passwords are
 * stored. The disk has its own (disk-watch.ts).
 *
 * Each is an object that is updated as things happen, and whose `check` gives the value for `/readyz`.
 */
import type { Clock } from '../../async/clock.ts';
import type { Failure } from '../../errors.ts';
import { hints } from '../../text/hints.ts';
import { countText, expiryText } from '../../text/units.ts';
import { type Server, serverKey } from '../model.ts';
import type { ReadableSecrets } from '../ports.ts';
import type { CertificateCheck, Check, EncryptionChecks, Readiness } from '../readiness.ts';

export function okSince(sinceMs: number): Check {
  return { status: 'ok', since: new Date(sinceMs).toISOString(), reason: null, hint: null };
}

function failing(failure: Failure, sinceMs: number): Check {
  const since = new Date(sinceMs).toISOString();
  return { status: 'failing', since, reason: `${failure.code}: ${failure.message}`, hint: failure.hint };
}

const databaseStarting = 'it has not answered yet: connecting, or bringing its tables up to date';

/** Database check: the last result, since when it is so, and how long a ping took. */
interface DatabaseCheck {
  /** null: it answered. Returns true when the result is worth a log line. */
  record(failure: Failure | null): boolean;
  recordPing(ms: number): void;
  check(): Omit<Readiness['checks']['database'], 'pool'>;
}

export function createDatabaseCheck(clock: Pick<Clock, 'nowMs'>): DatabaseCheck {
  let current: Check = { status: 'unknown', since: null, reason: databaseStarting, hint: null };
  let pingMs: number | null = null;
  return {
    record: (failure) => {
      const next = failure === null ? okSince(clock.nowMs()) : failing(failure, clock.nowMs());
      const before = current;
      const isChange = next.status !== before.status || next.reason !== before.reason;
      if (isChange) current = next;
      // The first answer after the start is expected.
      return isChange && !(before.status === 'unknown' && next.status === 'ok');
    },
    recordPing: (ms) => {
      pingMs = Math.round(ms);
    },
    check: () => ({ ...current, ping_ms: pingMs }),
  };
}

const daysLeftMin = 14;
const certificatesMax = 1000;
const dayMs = 86_400_000;
/** A little more than the longest poll interval: an older certificate may have been replaced unseen. */
const seenMsMax = 25 * 3_600_000;

/**
 * Certificate expiry: the certificates that mail servers presented within a day; a warning 14 days before one expires.
 */
interface Certificates {
  /** `endsAtMs`: notAfter (RFC 5280), in milliseconds since 1970. */
  record(host: string, port: number, endsAtMs: number): void;
  /** `isUsed`: an active mailbox is on that server. */
  check(isUsed: (server: Server) => boolean): Readiness['checks']['certificates'];
}

type SeenCertificate = Server & { readonly endsAtMs: number; readonly seenAtMs: number };

export function createCertificates(clock: Clock): Certificates {
  const seen = new Map<string, SeenCertificate>();
  return {
    record: (host, port, endsAtMs) => {
      const key = serverKey({ host, port });
      seen.delete(key);
      seen.set(key, { host, port, endsAtMs, seenAtMs: clock.monotonicMs() });
      const [oldest] = seen.keys();
      if (seen.size > certificatesMax && oldest !== undefined) seen.delete(oldest);
    },
    check: (isUsed) => {
      const sinceMs = clock.monotonicMs() - seenMsMax;
      return certificatesCheck(
        [...seen.values()].filter((one) => one.seenAtMs >= sinceMs && isUsed(one)),
        clock.nowMs(),
      );
    },
  };
}

function certificatesCheck(
  certificates: readonly SeenCertificate[],
  nowMs: number,
): Readiness['checks']['certificates'] {
  const list: readonly CertificateCheck[] = certificates
    .map(({ host, port, endsAtMs }) => ({
      ...{ host, port, not_after: new Date(endsAtMs).toISOString() },
      days_left: Math.floor((endsAtMs - nowMs) / dayMs),
    }))
    .sort((a, b) => a.days_left - b.days_left);
  const [first] = list;
  if (first === undefined || first.days_left >= daysLeftMin)
    return { status: 'ok', since: null, reason: null, hint: null, list };
  const reason = `the certificate of ${first.host}:${first.port} ${expiryText(first.days_left)}`;
  return { status: 'warning', since: null, reason, hint: hints.certificateExpiring, list };
}

/** A warning: polling does not depend on it. */
export function passwordsCheck(
  { passwords, refreshTokens }: ReadableSecrets,
  sealing: EncryptionChecks['sealing'],
): Readiness['checks']['passwords'] {
  const counts = { readable: passwords, readable_tokens: refreshTokens };
  const text = readableText({ passwords, refreshTokens });
  if (text === null || sealing === 'running') return { status: 'ok', since: null, reason: null, hint: null, ...counts };
  const [although, hint] =
    sealing === 'off' ? ['', hints.passwordsReadable] : [' although encryption is on', hints.passwordsUnsealed];
  return { status: 'warning', since: null, reason: `passwords_readable: ${text}${although}`, hint, ...counts };
}

/** `2 passwords and 1 refresh token are readable in the database`; null: none is. */
export function readableText({ passwords, refreshTokens }: ReadableSecrets): string | null {
  const parts = [
    ...(passwords === 0 ? [] : [countText(passwords, 'password')]),
    ...(refreshTokens === 0 ? [] : [countText(refreshTokens, 'refresh token')]),
  ];
  if (parts.length === 0) return null;
  return `${parts.join(' and ')} ${passwords + refreshTokens === 1 ? 'is' : 'are'} readable in the database`;
}
