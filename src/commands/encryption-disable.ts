/**
 * `encryption disable`: stores every password readable again. It needs the file system, never the database alone.
 *
 * Whoever can open the key file here has shown that. Where it cannot be opened the running daemon does it, which has
 * the key in its memory: it wants to see a proof file in the data folder, made after it was asked.
 */
import type { App } from '../compose/compose.ts';
import type { DisableAnswer } from '../encryption/control.ts';
import { counted } from '../encryption/help.ts';
import { disable } from '../encryption/operations/disable.ts';
import { quoted } from '../text/shell.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { operationOptions, runOperation, tellUnopened } from './encryption-operation.ts';

type DisableOptions = CommonOptions & { readonly yes?: boolean };
type Asked = Extract<DisableAnswer, { readonly state: 'asked' }>;
type Done = Exclude<DisableAnswer, Asked>;

/** Throws `usage`, `operation_running`, `daemon_unreachable`, `key_file_*`. */
export async function disableEncryption(options: DisableOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const question = 'Switch encryption off, and store every password readable in the database?';
    const sure = options.yes === true || (await terminal.confirm(question, 'Say that you are sure with --yes.'));
    if (!sure) {
      terminal.note('Nothing was changed.');
      return 1;
    }
    const { state } = await app.vault.refresh();
    const answer =
      state.kind === 'open' || state.kind === 'closed' ? await here(app, context) : await app.askDaemon.disable();
    if (options.json === true) await terminal.json(answer);
    if (answer.state !== 'asked') return await tellDone(answer, options, context);
    tellAsked(answer, context);
    return 1;
  });
}

async function here(app: App, context: Context): Promise<Done> {
  const how = operationOptions({}, context);
  const done = await runOperation(app, context, 'storing passwords readable', (ports) => disable(ports, how));
  const { unsealed, unopened, setAside, wasOff } = done;
  const state = unopened.length === 0 ? 'off' : 'disabling';
  return { state, was_off: wasOff, unsealed, unopened_count: unopened.length, unopened, set_aside: setAside };
}

async function tellDone(answer: Done, options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  if (options.json !== true) {
    if (answer.state === 'disabling')
      await terminal.line('encryption is not off yet: some passwords stay sealed', 'red');
    else await terminal.line(answer.was_off ? 'encryption is off, as it was' : 'encryption is off', 'green');
    await terminal.line(`${counted(answer.unsealed, 'password')} stored readable`);
    if (answer.set_aside !== null)
      await terminal.line(`The key file is kept, for backups of the database from before, as ${answer.set_aside}`);
  }
  tellUnopened(answer.unopened, context);
  if (answer.state === 'disabling') terminal.note('Then run the command again.');
  return answer.unopened_count === 0 ? 0 : 1;
}

function tellAsked(answer: Asked, { terminal }: Context): void {
  if (answer.problem !== null) terminal.note(`the proof file is not accepted: ${answer.problem}`, 'red');
  terminal.note(
    'The key cannot be opened here, so the running daemon was asked. It wants to see that you reach its files:',
  );
  terminal.note(`1. make this file, as the daemon's user or root: touch ${quoted(answer.proof_path)}`);
  terminal.note(`2. run the command again before ${answer.expires_at}`);
}
