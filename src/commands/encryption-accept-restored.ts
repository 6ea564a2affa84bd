/**
 * `encryption accept-restored`: after a backup of the database was restored, its older switch is to count again.
 *
 * An older row looks the same whether a backup was restored or somebody wants encryption off unseen, so a person on this
 * host decides: what the database says is shown beside what was accepted last, before anything is changed.
 */
import type { App } from '../compose/compose.ts';
import { counted } from '../encryption/help.ts';
import { type Accepted, acceptRestored } from '../encryption/operations/trust-restored.ts';
import type { PasswordCounts } from '../encryption/ports.ts';
import { isFailure } from '../errors.ts';
import type { SwitchRow } from '../secret/switch.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { runOperation } from './encryption-operation.ts';

const columns = [
  { title: '' },
  { title: 'STATE' },
  { title: 'KEY' },
  { title: 'REVISION', align: 'right' as const },
  { title: 'CHANGED (UTC)' },
  { title: 'BY', shrinks: true },
];

type AcceptOptions = CommonOptions & { readonly yes?: boolean; readonly acceptOff?: boolean };

/** Throws `usage`, `refused` when there is nothing to accept, `key_unknown`, `switch_forged`. */
export async function acceptRestoredSwitch(options: AcceptOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const { problem } = await app.vault.refresh();
    const [{ row }, remembered] = await Promise.all([app.store.readSwitch(), acceptedLast(app)]);
    if (options.json !== true) await terminal.table(columns, [cells('found', row), cells('accepted last', remembered)]);
    const question = 'Accept what was found, for this host and every worker?';
    // Where nothing is wrong there is nothing to decide: that is what is told then.
    const sure =
      problem === null ||
      options.yes === true ||
      (await terminal.confirm(question, 'Say that you are sure with --yes.'));
    if (!sure) {
      terminal.note('Nothing was changed.');
      return 1;
    }
    const done = await accept(app, options, context);
    if (options.json === true) await terminal.json(acceptedJson(done));
    else await terminal.line(acceptedText(done.accepted, done.counts), 'green');
    return 0;
  });
}

/** That encryption would be off afterwards is asked for itself, at a terminal. */
async function accept(app: App, options: AcceptOptions, context: Context): Promise<Accepted> {
  const run = (acceptOff: boolean): Promise<Accepted> =>
    runOperation(app, context, 'looking', (ports) => acceptRestored(ports, { acceptOff }));
  try {
    return await run(options.acceptOff === true);
  } catch (error) {
    if (!isFailure(error, 'refused') || error.fields['would_be_off'] !== true || !context.isAttended) throw error;
    if (!(await context.terminal.confirm(`Attention: ${error.message}. Is that meant?`, error.hint))) throw error;
    return await run(true);
  }
}

/** null also when the file that remembers it cannot be understood: then there is nothing to compare with. */
async function acceptedLast({ memory }: Pick<App, 'memory'>): Promise<SwitchRow | null> {
  try {
    return await memory.read();
  } catch (error) {
    if (isFailure(error, 'disk_failed')) return null;
    throw error;
  }
}

function cells(name: string, row: SwitchRow | null): readonly string[] {
  if (row === null) return [name, 'none', '', '', '', ''];
  const key = [row.keyId, row.nextKeyId].filter((id) => id !== null).join(', next ');
  return [name, row.state, key, `${row.revision}`, shortTime(row.changedAtMs), row.changedBy];
}

function acceptedText({ state, revision }: SwitchRow, { sealed, plain }: PasswordCounts): string {
  return `accepted: encryption is ${state} (revision ${revision}); ${counted(sealed, 'password')} sealed, ${plain} readable`;
}

function acceptedJson(done: Accepted): Record<string, unknown> {
  const { found, remembered, accepted, counts } = done;
  return {
    ...rowJson(accepted),
    sealed: counts.sealed,
    plain: counts.plain,
    found: found === null ? null : rowJson(found),
    remembered: remembered === null ? null : rowJson(remembered),
  };
}

function rowJson({ state, keyId, nextKeyId, revision, changedAtMs, changedBy }: SwitchRow): Record<string, unknown> {
  const changed = { changed_at: isoTime(changedAtMs), changed_by: changedBy };
  return { state, key_id: keyId, next_key_id: nextKeyId, revision, ...changed };
}
