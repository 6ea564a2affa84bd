/**
 * `cost`: where the CPU time of a mail goes: fetch, parse, files, database.
 *
 * Processes that go as far as one stage each are measured whole, with one message and with all; what a stage costs is
 * the difference to the stage before, without the start of the process, and with all that V8 compiles while it warms
 * up. Fails with what a process printed.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runMeasured } from '../../support/processes/child.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { isExact, verifyStored } from '../../support/verification.ts';
import { addMailbox, mailboxName } from '../ingest/ingest.ts';
import { type Stage, type StageOrder, stages } from '../ingest/stages.ts';
import { openSetting, type Setting } from '../setting.ts';
import { fillOnce, type Reusable } from './filled.ts';
import { figure, type RunValues, type Scene, type SceneContext, type SceneRuns } from './scene.ts';

const stagesFile = join(import.meta.dirname, '../ingest/stages.ts');
/** What the program's own start uses, so that this one is as quick. */
const compileCache = fileURLToPath(new URL('../../../node_modules/.cache/ticketmaild', import.meta.url));

export const cost: Scene = {
  name: 'cost',
  about: ({ count }) =>
    `CPU seconds per 1,000 messages by stage, each the difference of two processes, ${count} messages of one mailbox into MariaDB`,
  database: 'mariadb',
  figures: [
    figure('fetch_s_per_1000', 'fetch', 2),
    figure('parse_s_per_1000', 'parse, hash and compress', 2),
    figure('files_s_per_1000', 'files (so little that noise may bring it below 0)', 2),
    figure('database_s_per_1000', 'database', 2),
    figure('all_s_per_1000', 'all of them, without the start', 2),
    figure('start_s', 'start: a process with one mail, once', 2),
  ],
  run: runAll,
};

async function runAll({ dovecot, mariadb, count, runs, progress }: SceneContext): Promise<SceneRuns> {
  const filled = await fillOnce(dovecot, count, progress);
  const values: RunValues[] = [];
  let isAllExact = true;
  for (let run = 1; run <= runs; run++) {
    progress(`run ${run} of ${runs}`);
    await using first = await openWith(dovecot, mariadb, filled);
    await using whole = await openWith(dovecot, mariadb, filled);
    const start = await cpuByStage(first, 1);
    const all = await cpuByStage(whole, count);
    isAllExact &&= isExact(await verifyStored({ sent: filled.sent, ...whole }));
    values.push(valuesOf(start, all, count));
  }
  return { runs: values, exact: isAllExact };
}

async function openWith(dovecot: Dovecot, mariadb: SceneContext['mariadb'], { user }: Reusable): Promise<Setting> {
  const setting = await openSetting(mariadb);
  try {
    await addMailbox(dovecot, user, { env: setting.env });
    return setting;
  } catch (error) {
    await setting[Symbol.asyncDispose]();
    throw error;
  }
}

type CpuByStage = Readonly<Record<Stage, number | null>>;

/** The last one stores; those before leave the database as it is. */
async function cpuByStage({ env }: Setting, count: number): Promise<CpuByStage> {
  const cpuS: Record<Stage, number | null> = { fetch: null, parse: null, store: null, commit: null };
  for (const stage of stages) {
    const order: StageOrder = { stage, mailbox: mailboxName, count };
    const options = { env: { ...env, NODE_COMPILE_CACHE: compileCache }, input: JSON.stringify(order) };
    cpuS[stage] = (await runMeasured([stagesFile], options)).cpuS;
  }
  return cpuS;
}

function valuesOf(start: CpuByStage, all: CpuByStage, count: number): RunValues {
  const messages = Math.max(1, count - 1);
  const perMessages = (stage: Stage) => difference(all[stage], start[stage], messages / 1000);
  const upTo = {
    fetch: perMessages('fetch'),
    parse: perMessages('parse'),
    store: perMessages('store'),
    commit: perMessages('commit'),
  };
  return {
    fetch_s_per_1000: upTo.fetch,
    parse_s_per_1000: difference(upTo.parse, upTo.fetch),
    files_s_per_1000: difference(upTo.store, upTo.parse),
    database_s_per_1000: difference(upTo.commit, upTo.store),
    all_s_per_1000: upTo.commit,
    start_s: start.commit,
  };
}

function difference(one: number | null, other: number | null, divisor = 1): number | null {
  return one === null || other === null ? null : (one - other) / divisor;
}
