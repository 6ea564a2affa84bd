/**
 * Trace of a violation: for a message the log lines of every worker about it and the faults around its
 * time, for a fault what the workers printed meanwhile.
 */
import type { Injected } from './campaign.ts';
import type { Scene } from './scene.ts';
import type { Wrong } from './verify.ts';
import type { Worker } from './worker.ts';

export type Trace = {
  /** A message, or a fault. */
  readonly about: string;
  readonly what: string;
  readonly lines: readonly string[];
  readonly faults: readonly string[];
};

const aroundMs = 60_000;
const linesMax = 30;

export function tracesOf(wrong: readonly Wrong[], faults: readonly Injected[], scene: Scene): readonly Trace[] {
  return wrong.flatMap(({ mail, uid, what }) => {
    if (mail === null) return [];
    const mailbox = `"mailbox":"${scene.mailboxes[mail.mailbox]?.name}"`;
    const isAbout = (text: string): boolean =>
      text.includes(mailbox) && (text.includes(`"uid":${uid},`) || !text.includes('"uid":'));
    const near = (atMs: number): boolean => Math.abs(atMs - mail.sentAtMs) <= aroundMs;
    const lines = scene.workers.flatMap(({ name, printed }) =>
      printed.lines
        .filter(({ atMs, text }) => isAbout(text) && (near(atMs) || text.includes('"uid":')))
        .map(({ atMs, text }) => `${new Date(atMs).toISOString()} ${name} ${text}`),
    );
    return {
      about: `${mail.mark} (${mail.kind}, sent ${new Date(mail.sentAtMs).toISOString()}, UID ${uid})`,
      what,
      lines: lines.toSorted().slice(-linesMax),
      faults: faults.filter(({ atMs, endMs }) => near(atMs) || near(endMs)).map(faultText),
    };
  });
}

/** What the workers printed since then that is not about single messages. */
export function traceSince(what: string, workers: readonly Worker[], sinceMs: number): Trace {
  const lines = workers.flatMap(({ name, printed }) =>
    printed.lines
      .filter(({ atMs, text }) => atMs >= sinceMs && !text.includes('"event":"message.'))
      .slice(0, linesMax)
      .map(({ atMs, text }) => `${new Date(atMs).toISOString()} ${name} ${text}`),
  );
  return { about: `since ${new Date(sinceMs).toISOString()}`, what, lines: lines.toSorted(), faults: [] };
}

function faultText({ kind, targets, atMs, endMs }: Injected): string {
  return `${new Date(atMs).toISOString()} to ${new Date(endMs).toISOString()} ${kind} (${targets.join(' ')})`;
}
