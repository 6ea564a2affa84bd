/**
 * `empty-visit`: what a visit to a mailbox without new mail costs, beside imapflow doing the same on the wire.
 *
 * Each kind of visit has a process of its own; they take turns. Fails with what a process printed.
 */
import { join } from 'node:path';
import { runMeasured } from '../child.ts';
import type { VisitKind, VisitsAnswer, VisitsOrder } from '../empty-visits.ts';
import { accountOf, addMailbox, mailboxName } from '../ingest.ts';
import { openSetting } from '../setting.ts';
import { atMost, figure, type RunValues, type Scene, type SceneContext, type SceneRuns } from './scene.ts';

const visitsFile = join(import.meta.dirname, '../empty-visits.ts');
const warmUpShare = 1 / 6;

export const emptyVisit: Scene = {
  name: 'empty-visit',
  about: ({ visits }) => `${visits} visits to a mailbox without mail`,
  database: 'mariadb',
  figures: [
    figure('ratio', 'CPU time of a session, ratio to imapflow', 2, atMost(1.3)),
    figure('session_cpu_ms', 'CPU of a session, ms', 2),
    figure('bare_cpu_ms', 'CPU of imapflow alone, ms', 2),
    figure('whole_cpu_ms', 'CPU of a whole visit, lease and database included, ms', 2),
    figure('whole_wall_ms', '… from its start to its end, ms', 1),
  ],
  run: runAll,
};

async function runAll({ dovecot, mariadb, visits, runs, progress }: SceneContext): Promise<SceneRuns> {
  await using setting = await openSetting(mariadb);
  const user = dovecot.newUser();
  await dovecot.createFolder(user, 'INBOX');
  await addMailbox(dovecot, user, { env: setting.env });
  const account = accountOf(dovecot, user);
  const warmUps = Math.ceil(visits * warmUpShare);
  const visit = async (kind: VisitKind): Promise<VisitsAnswer> => {
    const order: VisitsOrder = { kind, account, mailbox: mailboxName, warmUps, visits };
    const { stdout } = await runMeasured([visitsFile], { env: setting.env, input: JSON.stringify(order) });
    return JSON.parse(stdout) as VisitsAnswer;
  };
  const values: RunValues[] = [];
  for (let run = 1; run <= runs; run++) {
    progress(`run ${run} of ${runs}`);
    const bare = await visit('bare');
    const session = await visit('session');
    const whole = await visit('whole');
    values.push({
      ratio: session.cpu_ms / bare.cpu_ms,
      session_cpu_ms: session.cpu_ms,
      bare_cpu_ms: bare.cpu_ms,
      whole_cpu_ms: whole.cpu_ms,
      whole_wall_ms: whole.wall_ms,
    });
  }
  return { runs: values, exact: true };
}
