/**
 * Canary messages: one into each of some mailboxes every few seconds, and the moment at which each is in the database.
 *
 * They are put into the folders of the mail server, which may be down meanwhile. The database is asked by a connection
 * of our own, again and again; while it does not answer, nothing has arrived.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { runSql } from '../support/sql.ts';
import type { Mailbox, Stand } from './stand.ts';

export type Canary = {
  readonly mark: string;
  readonly mailbox: string;
  readonly sentAtMs: number;
  /** null: it is not in the database. */
  arrivedAtMs: number | null;
};

export type CanaryCount = { readonly sent: number; readonly lost: number; readonly doubled: number };

export type Canaries = {
  readonly sent: readonly Canary[];
  /** Sends no more. */
  stop(): Promise<void>;
  /** Sends none into this mailbox until it is resumed. */
  suspend(mailbox: string): Disposable;
  /** Waits until all have arrived, at most so long; the database is read once more in any case. */
  count(timeoutMs: number): Promise<CanaryCount>;
} & AsyncDisposable;

type Row = { readonly subject: string; readonly count: number };

const lookMs = 500;
let canaries = 0;

/** `everyMs` 0: none are sent. */
export function startCanaries(stand: Stand, mailboxes: readonly Mailbox[], everyMs: number): Canaries {
  const sent: Canary[] = [];
  const suspended = new Set<string>();
  const stop = new AbortController();
  const ended = new AbortController();
  const sending =
    everyMs === 0 ? Promise.resolve() : sendAll({ stand, mailboxes, everyMs, sent, suspended }, stop.signal);
  const looking = lookAgain(stand, sent, ended.signal);
  return {
    sent,
    suspend: (mailbox) => {
      suspended.add(mailbox);
      return { [Symbol.dispose]: () => void suspended.delete(mailbox) };
    },
    stop: () => {
      stop.abort();
      return sending;
    },
    count: async (timeoutMs) => {
      const endMs = performance.now() + timeoutMs;
      while (sent.some(({ arrivedAtMs }) => arrivedAtMs === null) && performance.now() < endMs) await sleep(lookMs);
      return countOf(sent, await readRows(stand));
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      ended.abort();
      await Promise.all([sending, looking]);
    },
  };
}

type Sending = {
  readonly stand: Stand;
  readonly mailboxes: readonly Mailbox[];
  readonly everyMs: number;
  readonly sent: Canary[];
  readonly suspended: ReadonlySet<string>;
};

async function sendAll({ stand, mailboxes, everyMs, sent, suspended }: Sending, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    for (const { name, kind, user, folder } of mailboxes) {
      if (suspended.has(name)) continue;
      canaries += 1;
      const mark = `C${process.pid}-${canaries}`;
      const server = kind === 'push' ? stand.push : stand.polled;
      await server.append(user, folder, [Buffer.from(textOf(mark))]);
      sent.push({ mark, mailbox: name, sentAtMs: Date.now(), arrivedAtMs: null });
    }
    await sleep(everyMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

/** Each from a person of its own, so that no limit of senders and no rule of equal notices is met. */
function textOf(mark: string): string {
  const date = new Date().toUTCString().replace('GMT', '+0000');
  return [
    `From: ${mark}@customers.example.test`,
    'To: help@example.test',
    `Subject: ${mark}`,
    `Message-ID: <${mark}@customers.example.test>`,
    `Date: ${date}`,
    '',
    `The printer of ${mark} is on fire.`,
    '',
  ].join('\r\n');
}

/** A question that hangs with the database is waited for: nothing arrives meanwhile. */
async function lookAgain(stand: Stand, sent: readonly Canary[], ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    const asked = readRows(stand).catch(() => null);
    const rows = await Promise.race([asked, endOf(ended)]);
    const arrived = new Set(rows?.map(({ subject }) => subject));
    for (const canary of sent) if (arrived.has(canary.mark)) canary.arrivedAtMs ??= Date.now();
    await sleep(lookMs, undefined, { signal: ended }).catch(() => undefined);
  }
}

function endOf(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(null), { once: true }));
}

async function readRows({ databaseUrl }: Stand): Promise<readonly Row[]> {
  return await runSql<Row>(databaseUrl, 'SELECT subject, COUNT(*) AS count FROM message GROUP BY subject');
}

function countOf(sent: readonly Canary[], rows: readonly Row[]): CanaryCount {
  const counts = new Map(rows.map(({ subject, count }) => [subject, Number(count)]));
  const times = sent.map(({ mark }) => counts.get(mark) ?? 0);
  return {
    sent: sent.length,
    lost: times.filter((count) => count === 0).length,
    doubled: times.filter((count) => count > 1).length,
  };
}
