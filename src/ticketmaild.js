#!/usr/bin/env node
/**
 * Launcher: checks the version of Node, enables the compile cache and loads main.ts.
 *
 * Written in JavaScript, so that an old Node can report its version, and because types of a file that is loaded before the
 * cache is enabled would be stripped at every start, a third of the time of a short command.
 */
import module from 'node:module';
import { fileURLToPath } from 'node:url';

const oldestNode = 26;

if (Number.parseInt(process.versions.node, 10) < oldestNode) {
  process.stderr.write(
    `ticketmaild: Node ${oldestNode} or newer is needed, this is ${process.versions.node}\n` +
      'hint: In a checkout, start it with src/ticketmaild COMMAND.\n',
  );
  process.exitCode = 2;
} else {
  // The cache is inside the installation, so only its owner fills it; for other users it stays as it is. Never in a folder
  // for temporary files, since its content is executed.
  module.enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/ticketmaild', import.meta.url)));
  // The path that the wrapper of a checkout was called by is that of this script; no helper inherits the variable.
  const { CALLED_AS_TICKETMAILD: path } = process.env;
  delete process.env.CALLED_AS_TICKETMAILD;
  if (path !== undefined) process.argv[1] = path;
  await import('./main.ts');
}
