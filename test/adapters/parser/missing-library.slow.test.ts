/**
 * A library that the parser threads cannot load, since an upgrade replaced the files of a running process: the poll
 * fails, and no message is quarantined.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../support/temporary.ts';

const root = join(import.meta.dirname, '../../..');

/** A copy of the program in `folder` whose node_modules lack the package. */
async function copyWithout(folder: string, missing: string): Promise<void> {
  const [from, to] = [join(root, 'node_modules'), join(folder, 'node_modules')];
  await mkdir(to);
  await cp(join(root, 'src'), join(folder, 'src'), { recursive: true });
  await cp(join(root, 'package.json'), join(folder, 'package.json'));
  for (const name of await readdir(from)) if (name !== missing) await symlink(join(from, name), join(to, name));
}

test('a message that needs it stays on the server, and others are parsed', async () => {
  await using folder = await temporaryFolder('missing');
  await copyWithout(folder.path, 'html-to-text');
  const code = `
    const { createParserPool } = await import(${JSON.stringify(join(folder.path, 'src/adapters/parser/parser-pool.ts'))});
    await using parser = createParserPool({ threads: 1, timeoutMs: 20_000, memoryMb: 256 });
    const parse = (text) => parser.parse(Buffer.from('From: a@example.test\\r\\nContent-Type: ' + text), 'a');
    const told = await Promise.allSettled([parse('text/html\\r\\n\\r\\n<p>one</p>'), parse('text/plain\\r\\n\\r\\ntwo')]);
    const after = await parse('text/plain\\r\\n\\r\\nthree');
    console.log(JSON.stringify([told[0].reason?.code ?? told[0].value, after.parsed.text]));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code]);
  expect(JSON.parse(stdout)).toEqual(['parser_unavailable', 'three']);
});
