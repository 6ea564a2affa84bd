/**
 * `log-level`: the daemons that run on this data folder log more or less, without a restart.
 *
 * It lasts until the next start or reload; what lasts longer stands in the configuration.
 */
import { levelNames } from '../adapters/terminal/log-lines.ts';
import { Failure } from '../errors.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

/** Throws `usage`, `daemon_unreachable`. Exit code 1 when one of several workers did not do it. */
export async function setLogLevel(options: CommonOptions & { level: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const level = levelNames.find((name) => name === options.level);
  if (level === undefined)
    throw new Failure('usage', `the level must be ${levelNames.join(', ')}, not "${options.level}"`);
  return await withApp(options, context, async ({ askDaemon }) => {
    const { answers, failures } = await askDaemon.logLevel(level);
    if (options.json === true) await terminal.json({ workers: answers });
    else
      for (const { pid, worker, before, level: now } of answers)
        await terminal.line(`${worker === '' ? '' : `worker ${worker}, `}pid ${pid}: ${before} -> ${now}`);
    if (options.json !== true) terminal.note('until its next start or reload; to keep it, set [log] level', 'dim');
    for (const { message, hint } of failures) terminal.note(`not done: ${message} (${hint})`, 'red');
    return failures.length === 0 ? 0 : 1;
  });
}
