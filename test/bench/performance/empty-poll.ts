/**
 * `empty-poll`: what a poll to a mailbox without new message costs, beside imapflow doing the same on the wire.
 *
 * Each kind of poll has a process of its own; they take turns. Fails with what a process printed.
 */
import { join } from 'node:path';
import { runMeasured } from '../../support/processes/child.ts';
import type { PollKind, PollsAnswer, PollsOrder } from '../ingest/empty-polls.ts';
import { accountOf, addMailbox, mailboxName } from '../ingest/ingest.ts';
import { openSetting } from '../setting.ts';
import { atMost, figure, type RunValues, type Scene, type SceneContext, type SceneRuns } from './scene.ts';

const pollsFile = join(import.meta.dirname, '../ingest/empty-polls.ts');
const warmUpShare = 1 / 6;

export const emptyPoll: Scene = {
  name: 'empty-poll',
  about: ({ polls }) => `${polls} polls to a mailbox without mail`,
  database: 'mariadb',
  figures: [
    figure('ratio', 'CPU time of a session, ratio to imapflow', 2, atMost(1.3)),
    figure('session_cpu_ms', 'CPU of a session, ms', 2),
    figure('bare_cpu_ms', 'CPU of imapflow alone, ms', 2),
    figure('whole_cpu_ms', 'CPU of a whole poll, lease and database included, ms', 2),
    figure('whole_wall_ms', '… from its start to its end, ms', 1),
  ],
  run: runAll,
};

async function runAll({ dovecot, mariadb, polls, runs, progress }: SceneContext): Promise<SceneRuns> {
  await using setting = await openSetting(mariadb);
  const user = dovecot.newUser();
  await dovecot.createFolder(user, 'INBOX');
  await addMailbox(dovecot, user, { env: setting.env });
  const account = accountOf(dovecot, user);
  const warmUps = Math.ceil(polls * warmUpShare);
  const poll = async (kind: PollKind): Promise<PollsAnswer> => {
    const order: PollsOrder = { kind, account, mailbox: mailboxName, warmUps, polls };
    const { stdout } = await runMeasured([pollsFile], { env: setting.env, input: JSON.stringify(order) });
    return JSON.parse(stdout) as PollsAnswer;
  };
  const values: RunValues[] = [];
  for (let run = 1; run <= runs; run++) {
    progress(`run ${run} of ${runs}`);
    const bare = await poll('bare');
    const session = await poll('session');
    const whole = await poll('whole');
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
