/**
 * Verdicts on mailboxes for `mailbox list` and `mailbox show`: those of the workers that run here, else of the rows.
 *
 * A worker knows more than the table: a circuit breaker that is open, a server that stopped answering. Where several
 * run on the data folder, the one that holds the connection of the mailbox in IDLE decides, else the one that sees a
 * failure. Without an answer the same rules are applied to the rows (health/mailbox-checks.ts).
 */
import { within } from '../../async/deadline.ts';
import type { App } from '../../compose/compose.ts';
import { isFailure } from '../../errors.ts';
import { reasonCode } from '../../ingest/health/describe.ts';
import { type MailboxFacts, mailboxVerdicts } from '../../ingest/health/mailbox-checks.ts';
import { isInvalid, type Mailbox, type MailboxHealth } from '../../ingest/model.ts';
import type { MailboxCheck, PushState } from '../../ingest/readiness.ts';
import { workerLiveMs } from '../../ingest/scheduler/workers.ts';
import type { Context } from '../context.ts';
import { survey } from '../status/targets.ts';

type MailboxWithHealth = Mailbox & { readonly health: MailboxHealth };

/** `code`: that of the reason; null where there is none. `push`: null where no worker answered. */
export type Verdict = Pick<MailboxCheck, 'status' | 'since'> & {
  readonly code: string | null;
  readonly push: PushState | null;
};

export type Verdicts = {
  /** null: the mailbox is not polled. */
  readonly verdictOf: (mailbox: MailboxWithHealth) => Verdict | null;
  /** Of the keys that this process or a live worker has. */
  readonly availableIds: ReadonlySet<string>;
};

type VerdictSettings = { readonly dataDir: string; readonly loginFailuresMax: number };

/** A worker whose database hangs answers later. */
const answerMsMax = 2000;

export async function readVerdicts(
  app: App,
  mailboxes: readonly MailboxWithHealth[],
  { dataDir, loginFailuresMax }: VerdictSettings,
  context: Context,
): Promise<Verdicts> {
  const { vault, store, confirmations } = app;
  await vault.refresh();
  const [workers, nowMs, checks] = await Promise.all([
    store.listWorkers(workerLiveMs),
    store.databaseNowMs(),
    workerChecks(dataDir, context),
  ]);
  const live = workers.filter((worker) => worker.live);
  const availableIds = new Set([...vault.keys().map(({ id }) => id), ...live.flatMap(({ keyIds }) => keyIds)]);
  const facts: MailboxFacts = {
    ...{ records: new Map(), outages: [], grants: [], loginFailuresMax, nowMs },
    ...{ silentSinceMs: () => null, heardAtMs: () => null },
    vault: { since: null, hint: null, key_ids: [...availableIds] },
    uidValidityChanges: { count: () => 0 },
    isUnconfirmed: (mailbox, seal) => confirmations.isUnconfirmed(mailbox, seal),
    ...(live.length === 0 ? { isUnattended: true } : {}),
  };
  const ofRow = mailboxVerdicts(mailboxes, facts);
  const verdictOf: Verdicts['verdictOf'] = (mailbox) => {
    if (mailbox.state !== 'active' || isInvalid(mailbox)) return null;
    const check = checks.get(mailbox.name) ?? null;
    const { status, since, reason } = check ?? ofRow(mailbox);
    return { status, since, code: reasonCode(reason), push: check?.push ?? null };
  };
  return { verdictOf, availableIds };
}

/** By the name of the mailbox. A worker lists 200 of them, failing ones first. */
async function workerChecks(dataDir: string, context: Context): Promise<ReadonlyMap<string, MailboxCheck>> {
  const checks = new Map<string, MailboxCheck>();
  for (const check of await checksOfWorkers(dataDir, context)) {
    const other = checks.get(check.mailbox);
    if (other === undefined || (!isIdling(other) && (isIdling(check) || check.status !== 'ok')))
      checks.set(check.mailbox, check);
  }
  return checks;
}

function isIdling({ push }: MailboxCheck): boolean {
  return push.state === 'idling';
}

async function checksOfWorkers(dataDir: string, context: Context): Promise<readonly MailboxCheck[]> {
  try {
    const answered = await within(survey({ dataDir, note: null }, context), answerMsMax);
    const answers = answered?.value.answers ?? [];
    return answers.flatMap((one) => ('status' in one ? one.status.checks.mailboxes.list : []));
  } catch (error) {
    if (isFailure(error, 'daemon_unreachable', 'refused')) return [];
    throw error;
  }
}
