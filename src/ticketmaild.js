#!/usr/bin/env node
/**
 * Launcher: checks the version of Node, enables the compile cache and loads main.ts.
 *
 * Written in JavaScript, so that an old Node can report its version, and because types of a file that is loaded before the
 * cache is enabled would be stripped at every start, a third of the time of a short command.
 */
import { statSync } from 'node:fs';
import module from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const oldestNode = 26;

if (Number.parseInt(process.versions.node, 10) < oldestNode) {
  process.stderr.write(
    `ticketmaild: Node ${oldestNode} or newer is needed, this is ${process.versions.node}\n` +
      'hint: In a checkout, start it with src/ticketmaild COMMAND.\n',
  );
  process.exitCode = 2;
} else {
  // No other user may change what is created here, whatever the umask of the caller.
  process.umask(process.umask() | 0o022);
  const cache = fileURLToPath(new URL('../node_modules/.cache/ticketmaild', import.meta.url));
  // The cache is inside the installation, so only its owner fills it; for other users it stays as it is. Never in a folder
  // for temporary files, nor in one that others can change, since its content is executed.
  if ([cache, dirname(cache)].every(isOursAlone)) module.enableCompileCache(cache);
  // The path that the wrapper of a checkout was called by is that of this script; no helper inherits the variable.
  const { CALLED_AS_TICKETMAILD: path } = process.env;
  delete process.env.CALLED_AS_TICKETMAILD;
  if (path !== undefined) process.argv[1] = path;
  await import('./main.ts');
}

/** True for a folder of this user or root that no other can change, and for one that is missing. */
function isOursAlone(folder) {
  try {
    const stats = statSync(folder, { throwIfNoEntry: false });
    return stats === undefined || ([0, process.geteuid()].includes(stats.uid) && (stats.mode & 0o022) === 0);
  } catch {
    // Root's, in a folder that this user cannot enter.
    return false;
  }
}
