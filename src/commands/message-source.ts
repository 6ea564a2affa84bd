/**
 * `message source`: saves the raw source of one mail as a file, that of a quarantined one above all.
 *
 * To a file only, readable by its owner and never over another one: the bytes are a stranger's, and a terminal would
 * obey them. Throws `not_found` where no source is kept, `source_gone` where its time has passed.
 */
import { causeCode, Failure } from '../errors.ts';
import { commandWith, toldCommand } from '../text/shell.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

export type SourceOptions = CommonOptions & {
  readonly mailbox: string;
  readonly uid: string;
  readonly output: string;
};

export async function saveSource(options: SourceOptions, context: Context): Promise<number> {
  const uid = /^[1-9]\d{0,9}$/.test(options.uid) ? Number(options.uid) : null;
  if (uid === null) throw new Failure('usage', '--uid must be a whole number of 1 or more');
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.mailbox);
    const [place] = await app.store.rawPlaces(mailbox.id, [uid]);
    if (place === undefined) {
      const list = toldCommand(commandWith('message list', 'mailbox', mailbox.name));
      const hint = `See which there are: ${list}`;
      throw new Failure('not_found', `no source of UID ${uid} in mailbox ${mailbox.name} is kept`, { hint });
    }
    const source = await app.raw.read(place);
    write(options.output, source, context);
    await context.terminal.line(`saved ${source.length} bytes as ${options.output}`);
    return 0;
  });
}

function write(path: string, source: Uint8Array, { writeNewFile }: Context): void {
  try {
    writeNewFile(path, source);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'EEXIST')
      throw new Failure('exists_already', `${path} exists already`, { hint: 'Name another file.' });
    throw new Failure('usage', `${path} cannot be written (${code})`, { hint: 'Name another file.', cause: error });
  }
}
