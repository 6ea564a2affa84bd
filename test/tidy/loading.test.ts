/**
 * Lazy loading: modules that a process does not load before it needs them, since every command pays for its start.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporary.ts';

const root = join(import.meta.dirname, '../..');

/** The packages of which `code` loads files. */
async function loadedBy(code: string): Promise<readonly string[]> {
  const watch = `
    const { registerHooks } = await import('node:module');
    const urls = [];
    registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) });
  `;
  const tell = 'console.log(JSON.stringify(urls));';
  const argv = ['--input-type=module', '--eval', watch + code + tell];
  const { stdout } = await promisify(execFile)(process.execPath, argv, { cwd: root, env: {} });
  const urls: string[] = JSON.parse(stdout);
  return [...new Set(urls.flatMap((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []))];
}

async function composedWith(urlIn: (folder: string) => string): Promise<readonly string[]> {
  await using folder = await temporaryFolder('loading');
  return await loadedBy(`
    process.env.TICKETMAILD_DATABASE_URL = ${JSON.stringify(urlIn(folder.path))};
    process.env.TICKETMAILD_DATA_DIR = ${JSON.stringify(folder.path)};
    const { loadConfig } = await import('${root}/src/config/load.ts');
    const { compose } = await import('${root}/src/compose/compose.ts');
    const { createLog } = await import('${root}/src/log.ts');
    const log = createLog({ level: 'error', pretty: false, destination: { write: () => undefined } });
    await using app = await compose(loadConfig({ file: null }), log);
  `);
}

test('a command that asks no mail server loads no IMAP', async () => {
  const loaded = await composedWith((folder) => `sqlite:${join(folder, 'tickets.db')}`);
  expect(loaded).toContain('piscina');
  expect(loaded).not.toContain('imapflow');
});

test('a parse thread loads libraries when a message needs them', async () => {
  const parsing = (source: string) => `
    await import('${root}/src/adapters/parser/parse.worker.ts');
    const { parseMessage } = await import('${root}/src/mail/parse.ts');
    await parseMessage(new Uint8Array(Buffer.from(${JSON.stringify(source)})));
  `;
  const libraries = ['html-to-text', 'libmime', 'chardet', 'iconv-lite'];
  const plain = await loadedBy(parsing('Subject: plain\r\n\r\nplain\r\n'));
  for (const name of libraries) expect(plain).not.toContain(name);
  expect(await loadedBy(parsing('Content-Type: text/html\r\n\r\n<b>html</b>\r\n'))).toContain('html-to-text');
});
