/**
 * Loads every module of the program in this folder, and with them the packages: `systemd/install` tries a new version
 * with it, since a command loads only what it needs.
 *
 * The entry points are left out, which start something. Nothing else has an effect when it is loaded.
 */
import { globSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

const source = fileURLToPath(new URL('../../src/', import.meta.url));
const entryPoints = ['main.ts', '**/*.worker.ts'];

for (const path of globSync('**/*.ts', { cwd: source, exclude: entryPoints }).toSorted())
  await import(`${pathToFileURL(source)}${path}`);

const { dependencies } = await import('../../package.json', { with: { type: 'json' } }).then((file) => file.default);
// Those that are loaded with the first message that needs them.
for (const name of Object.keys(dependencies)) await import(name);
