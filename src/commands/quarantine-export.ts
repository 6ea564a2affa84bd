/**
 * `quarantine export`: saves what was kept of mails in quarantine as files, for their owner alone, never over another one.
 *
 * To files only: the bytes are a stranger's, and a terminal would obey them. A file of which only the header was kept
 * says so in its name. Throws `not_found`, `source_gone` for one; of many, what is gone is told and the exit code is 1.
 */
import { mkdirSync } from 'node:fs';
import type { App } from '../compose/compose.ts';
import { causeCode, Failure, isFailure } from '../errors.ts';
import { numberingText } from '../ingest/folder-epoch.ts';
import { heldId } from '../ingest/quarantine/read.ts';
import { hasWholeSource } from '../ingest/quarantine/reasons.ts';
import type { HeldMail } from '../ingest/stores.ts';
import { type Context, withApp } from './context.ts';
import { assertChosen, chosenMails, type SelectionOptions } from './quarantine-selection.ts';

export type ExportOptions = SelectionOptions & { readonly output?: string; readonly folder?: string };

export async function exportHeldMails(options: ExportOptions, context: Context): Promise<number> {
  assertChosen(options);
  const { output, folder, ids = [] } = options;
  if ((output === undefined) === (folder === undefined))
    throw new Failure('usage', 'give --output FILE for one mail, or --folder DIR for several');
  if (output !== undefined && ids.length !== 1) throw new Failure('usage', '--output is for one id: use --folder DIR');
  return await withApp(options, context, async (app) => {
    let failed = 0;
    if (folder !== undefined) makeFolder(folder);
    for await (const mail of chosenMails(app, options)) {
      const path = output ?? `${folder}/${fileName(mail)}`;
      if (!(await exportOne(app, mail, path, { context, isAlone: output !== undefined }))) failed += 1;
    }
    return failed === 0 ? 0 : 1;
  });
}

/** For its owner alone; one that is there stays as it is. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const hint = 'Name another place.';
    throw new Failure('usage', `${folder} cannot be made (${causeCode(error)})`, { hint, cause: error });
  }
}

async function exportOne(
  app: App,
  mail: HeldMail,
  path: string,
  { context, isAlone }: { readonly context: Context; readonly isAlone: boolean },
): Promise<boolean> {
  try {
    if (mail.raw === null) {
      const hint = 'quarantine retry asks the server for it again.';
      throw new Failure('source_gone', `nothing of ${heldId(mail)} is kept`, { hint });
    }
    const source = await app.raw.read(mail.raw);
    writeFile(path, source, context);
    const what = hasWholeSource(mail.reason) ? '' : ' (the header alone)';
    await context.terminal.line(`saved ${heldId(mail)} as ${path}, ${source.length} bytes${what}`);
    return true;
  } catch (error) {
    if (isAlone || !isFailure(error, 'source_gone', 'exists_already')) throw error;
    context.terminal.note(`${heldId(mail)}: ${error.message}`, 'red');
    return false;
  }
}

/** Letters, digits and what harms nowhere: a mailbox may be called anything. */
function fileName({ mailbox, numbering, uid, reason }: HeldMail): string {
  const name = mailbox.replace(/[^\p{L}\p{N}@._-]/gu, '_').replace(/^\.+/u, '_');
  return `${name}-${numberingText(numbering)}-${uid}${hasWholeSource(reason) ? '' : '.header'}.eml`;
}

function writeFile(path: string, source: Uint8Array, { writeNewFile }: Context): void {
  try {
    writeNewFile(path, source);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'EEXIST')
      throw new Failure('exists_already', `${path} exists already`, { hint: 'Name another file.' });
    throw new Failure('usage', `${path} cannot be written (${code})`, { hint: 'Name another place.', cause: error });
  }
}
