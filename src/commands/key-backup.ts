/**
 * `key backup FILE`: copies the key file as it is, for its owner alone, and never over another file.
 *
 * It needs neither the database nor the passphrase of a protected key file.
 */
import { relative, resolve } from 'node:path';
import { commandLine } from '../encryption/help.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { sayer } from './encryption-operation.ts';
import { recordKeyChange } from './key-record.ts';

/** Throws `exists_already`, `key_file_missing`, `disk_*`. */
export async function backUpKey(options: CommonOptions & { readonly file: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const file = resolve(options.file);
  return await withApp(options, context, async (app, config) => {
    await app.keyFile.copyTo(file);
    const recorded = await recordKeyChange(app, context, 'key.backed_up', `to ${file}`);
    if (options.json === true) await terminal.json({ file, key_file: app.keyFile.path, recorded });
    else await terminal.line(`copied the key file to ${file}`, 'green');
    const say = sayer(options, terminal);
    await say(
      `Verify it now, and wherever you bring it: ${commandLine(`key verify ${options.file}`, options.config ?? null)}`,
    );
    await say('Keep it apart from the backups of the database: whoever has both has the passwords.');
    if (!relative(config.dataDir, file).startsWith('..'))
      terminal.note(`note: ${file} lies in data_dir itself: what loses the one loses the other`, 'yellow');
    return 0;
  });
}
