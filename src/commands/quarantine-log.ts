/**
 * `quarantine log`: who took what out of quarantine, or discarded it; and the counts of a command, which become its row.
 *
 * One row for each command that did something, in the table `audit`, which is only ever added to.
 */
import type { App } from '../compose.ts';
import type { StoredAudit } from '../encryption/ports.ts';
import { heldId } from '../ingest/quarantine-id.ts';
import type { HeldMail } from '../ingest/quarantine-ports.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { limitOf, rowJson } from './encryption-log.ts';
import { shortTime } from './times.ts';

const columns = [
  { title: 'WHEN (UTC)' },
  { title: 'WHO', shrinks: true },
  { title: 'WHAT' },
  { title: 'DETAIL', shrinks: true },
];
const idsMax = 10;

/** Scripts (`--json`) get all of it, people the newest, unless told a limit. Throws `usage`. */
export async function listQuarantineLog(
  options: CommonOptions & { limit?: string },
  context: Context,
): Promise<number> {
  const { terminal } = context;
  const limit = limitOf(options);
  return await withApp(options, context, async (app) => {
    const rows = await app.store.readAudit(limit, 'quarantine');
    if (options.json === true) for (const row of rows) await terminal.json(rowJson(row));
    else if (rows.length === 0) terminal.note('Nobody has taken anything out of quarantine yet.');
    else await terminal.table(columns, rows.map(cells));
    return 0;
  });
}

function cells({ atMs, who, action, detail }: StoredAudit): readonly string[] {
  return [shortTime(atMs), who, action, detail ?? ''];
}

/** What a command did with mails in quarantine, counted. */
export type Tally = {
  readonly mails: () => number;
  /** Names of results, with how often. */
  readonly results: ReadonlyMap<string, number>;
  add(mail: HeldMail, result: string): void;
  /** Writes the row of the command; none when it did nothing. */
  write(app: App, action: 'quarantine.retried' | 'quarantine.released' | 'quarantine.discarded'): Promise<void>;
};

export function createTally(): Tally {
  const results = new Map<string, number>();
  const reasons = new Map<string, number>();
  const mailboxes = new Set<string>();
  const ids: string[] = [];
  let mails = 0;
  return {
    mails: () => mails,
    results,
    add(mail, result) {
      mails += 1;
      results.set(result, (results.get(result) ?? 0) + 1);
      reasons.set(mail.reason, (reasons.get(mail.reason) ?? 0) + 1);
      mailboxes.add(mail.mailboxId);
      if (ids.length < idsMax) ids.push(heldId(mail));
    },
    async write(app, action) {
      if (mails === 0) return;
      const [mailboxId = null] = mailboxes.size === 1 ? mailboxes : [];
      const detail = `${counted(reasons)}: ${counted(results)}: ${ids.join(', ')}${mails > idsMax ? ', …' : ''}`;
      await app.store.audit([{ ...app.author, action, keyId: null, nextKeyId: null, mailboxId, detail }]);
    },
  };
}

/** `2 too_large, 1 mail_loop`. */
export function counted(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
}
