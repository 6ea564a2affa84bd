/**
 * Manual pages in man(7): ticketmaild(8) from the definitions of the commands, ticketmaild.toml(5) from the schema.
 *
 * They are written uncompressed, with the date of the sources, so that the same sources give the same bytes.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { readPackage, sourceDateS } from '../checkout.ts';
import { runCommand } from '../command.ts';
import { commandPage } from './command-page.ts';
import { configurationPage } from './configuration-page.ts';

/** Names of the pages; the number behind the last dot is their section. */
export const manPageNames = ['ticketmaild.8', 'ticketmaild.toml.5'] as const;

/** Writes both into `folder`, which is created if missing, and returns their paths. */
export async function writeManPages(folder: string): Promise<readonly string[]> {
  const { version } = await readPackage();
  const date = new Date((await sourceDateS()) * 1000).toISOString().slice(0, 10);
  const pages = {
    'ticketmaild.8': commandPage({ version, date }),
    'ticketmaild.toml.5': configurationPage({ version, date }),
  };
  await mkdir(folder, { recursive: true });
  const paths = manPageNames.map((name) => ({ name, path: join(folder, name) }));
  for (const { name, path } of paths) await writeFile(path, pages[name], { mode: 0o644 });
  return paths.map(({ path }) => path);
}

if (process.argv[1] === import.meta.filename)
  await runCommand('man-pages', async () => {
    const paths = await writeManPages(resolve(process.argv[2] ?? 'dist/man'));
    process.stdout.write(`${paths.join('\n')}\n`);
  });
