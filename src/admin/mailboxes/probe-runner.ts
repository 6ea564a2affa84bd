/**
 * Rate-limited probes of mail servers for the page: one at a time, 20 a minute, each with a deadline.
 *
 * A person who is signed in makes the daemon connect to any host (server-side request forgery), as the command does. So
 * the result holds words of this program, and what IMAP and TLS define: never the text of another kind of server. A
 * probe that is given up ends at its own deadlines; the next one waits for that.
 */
import type { Clock } from '../../async/clock.ts';
import { within } from '../../async/deadline.ts';
import { Failure, hintOf, isFailure } from '../../errors.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import { namesMailbox } from '../../text/hints.ts';
import type { ProbeStage, ProbeView } from '../service.ts';

type Probe = (step: (name: string) => void) => Promise<ProbeReport>;

/** `report` null: it failed. */
export type ProbeResult = { readonly view: ProbeView; readonly report: ProbeReport | null };

/** Throws `refused` while another one runs, and after too many; what a probe throws is part of the result. */
export type ProbeRunner = { run(probe: Probe): Promise<ProbeResult> };

const perMinute = 20;
const minuteMs = 60_000;
/** Less than a response of the page may take. */
const probeMsMax = 24_000;

export function createProbeRunner(clock: Clock): ProbeRunner {
  let isRunning = false;
  let startedMs: readonly number[] = [];
  return {
    async run(probe) {
      const nowMs = clock.monotonicMs();
      startedMs = startedMs.filter((atMs) => nowMs - atMs < minuteMs);
      if (isRunning)
        throw new Failure('refused', 'another connection is being tested', { hint: 'Try again in a few seconds.' });
      if (startedMs.length >= perMinute)
        throw new Failure('refused', 'too many connections were tested', { hint: 'Try again in a minute.' });
      startedMs = [...startedMs, nowMs];
      isRunning = true;
      const begun: string[] = [];
      const running = probe((name) => void begun.push(name));
      const ended = (): void => {
        isRunning = false;
      };
      running.then(ended, ended);
      try {
        const inTime = await within(running, probeMsMax, clock);
        if (inTime === null) throw new Failure('server_timeout', `no result within ${probeMsMax / 1000} s`);
        return { view: reportView(inTime.value, begun), report: inTime.value };
      } catch (error) {
        if (!isFailure(error) || error.domain === 'database' || error.code === 'unexpected') throw error;
        return { view: failureView(error, begun), report: null };
      }
    },
  };
}

/** Stages that a probe begins, in their order. */
const stages = ['name', 'connect', 'tls', 'login', 'folder'] as const;

function stageList(begun: readonly string[], isFailed: boolean): readonly ProbeStage[] {
  const last = begun.at(-1);
  return stages
    .filter((stage) => begun.includes(stage) || (isFailed && stage !== 'tls'))
    .map((stage) => ({
      stage,
      result: !begun.includes(stage) ? 'not_reached' : isFailed && stage === last ? 'failed' : 'passed',
    }));
}

function reportView(report: ProbeReport, begun: readonly string[]) {
  const { address, certificate, mechanism, folder, folders, leftOut } = report;
  return {
    ...{ stages: stageList(begun, false), failure: null, address, mechanism, folders, leftOut },
    certificate: certificate === null ? null : { ...certificate, validFromMs: null },
    ...{ messages: folder.messageCount, notes: [] },
  } satisfies ProbeView;
}

/** In place of hints that name options of a command. */
const hintsOfPage: Partial<Record<Failure['code'], string>> = {
  login_refused: 'Check user and password.',
  server_referral: 'Ask the operator of the mail server. If that host is right, enter it, and test again.',
  tls_untrusted:
    'Ask the operator of the mail server whether the certificate below is genuine: then trust it alone, or give its authority.',
  tls_pin_mismatch:
    'The server shows the certificate below. Ask the operator of the mail server whether it is genuine: then trust it instead.',
};

function failureView(failure: Failure, begun: readonly string[]): ProbeView {
  const { code, message, fields } = failure;
  const ofPage = failure.hint === hintOf(code) || namesMailbox(failure.hint) ? hintsOfPage[code] : undefined;
  const usual = typeof fields['folders'] === 'string' ? 'Choose one of the folders below.' : failure.hint;
  return {
    stages: stageList(begun, true),
    failure: { code, message, hint: ofPage ?? usual },
    ...{ address: null, mechanism: null, messages: null },
    folders: typeof fields['folders'] === 'string' && fields['folders'] !== '' ? fields['folders'].split(', ') : [],
    ...{ leftOut: Number(fields['left_out'] ?? 0), notes: [] },
    certificate: shownCertificate(failure),
  };
}

/** The certificate that a refused handshake showed: words that the server chose. null: there was none. */
function shownCertificate({ fields }: Failure): ProbeView['certificate'] {
  const text = (name: string): string | null => {
    const value = fields[name];
    return typeof value === 'string' ? value : null;
  };
  const fingerprint = text('fingerprint') ?? text('shown');
  if (fingerprint === null || !/^[0-9a-f]{64}$/.test(fingerprint)) return null;
  const timeMs = (name: string): number | null => {
    const ms = Date.parse(text(name) ?? '');
    return Number.isNaN(ms) ? null : ms;
  };
  return {
    ...{ fingerprint, subject: text('subject') ?? '', issuer: text('issuer') ?? '' },
    ...{ validFromMs: timeMs('valid_from'), validUntilMs: timeMs('valid_until') },
  };
}
