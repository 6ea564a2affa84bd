#!/usr/bin/env node
/**
 * Where Node begins: looks at its own version, turns the compile cache on and goes on in main.ts.
 *
 * In JavaScript, so that an old Node gets as far as saying what it lacks, and because a file that is read before the cache is on
 * would be rid of its types anew each time, which is a third of the time that a short command takes.
 */
import module from 'node:module';
import { fileURLToPath } from 'node:url';

const oldestNode = 26;

if (Number.parseInt(process.versions.node, 10) < oldestNode) {
  process.stderr.write(
    `ticketmaild: Node ${oldestNode} or newer is needed, this is ${process.versions.node}\n` +
      'hint: In a checkout, start it with npm run ticketmaild -- COMMAND.\n',
  );
  process.exitCode = 2;
} else {
  // What is compiled lies beside what it was compiled from, for who may write there; for others everything stays as it is.
  // Never in a folder for temporary files: what lies in it is run.
  module.enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/ticketmaild', import.meta.url)));
  await import('./main.ts');
}
