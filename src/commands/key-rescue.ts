/**
 * `key rescue`: the key file is lost or damaged, and the daemon that runs still holds the keys: it writes them back.
 */
import { type CommonOptions, type Context, withApp } from './context.ts';

/** Throws `daemon_unreachable`, `refused` when there is nothing to rescue, `key_file_missing`, `disk_*`. */
export async function rescueKey(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async ({ askDaemon }) => {
    const answer = await askDaemon.rescue();
    if (options.json === true) await terminal.json(answer);
    else {
      await terminal.line(`written back: ${answer.path}, key ${answer.key_ids.join(', ')}`, 'green');
      if (answer.set_aside !== null) await terminal.line(`what was there is kept as ${answer.set_aside}`);
    }
    if (!answer.recorded) terminal.note('note: this could not be recorded in the database, which does not answer');
    return 0;
  });
}
