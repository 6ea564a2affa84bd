/** A command that the admin page shows, run as it stands by a shell on the host of the daemon. */
import { spawn } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { launcher } from '../support/processes/launcher.ts';
import { ended } from '../support/servers/programs.ts';
import type { AdminScene } from './admin-scene.ts';

/**
 * Throws with what it printed when it fails. `ticketmaild` is the program under test, with the environment of its
 * daemon.
 */
export async function shellRun(
  { folder, env }: Pick<AdminScene, 'folder' | 'env'>,
  line: string,
  home = folder,
): Promise<string> {
  const programs = join(folder, 'bin');
  await mkdir(programs, { recursive: true });
  const program = join(programs, 'ticketmaild');
  await writeFile(program, `#!/bin/sh\nexec '${process.execPath}' '${launcher}' "$@"\n`);
  await chmod(program, 0o755);
  const child = spawn('sh', ['-c', line], {
    env: { ...env, HOME: home, PATH: `${programs}${delimiter}${process.env.PATH ?? ''}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => {
      printed += piece;
    });
  const code = await ended(child);
  if (code !== 0) throw new Error(`${line} ended with ${code}: ${printed}`);
  return printed;
}
