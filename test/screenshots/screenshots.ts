/**
 * Screenshots of the admin page in its main states: `npm run screenshots [-- FOLDER] [-- --readme]`.
 *
 * Starts the real daemon with a mail server, a database and a browser, takes each state in light and dark, and writes
 * PNGs into the folder (a new one by default). `--readme` writes the two pictures of the documents instead. Exit code 1
 * when anything fails, 2 for a wrong option.
 */
import { mkdtempSync } from 'node:fs';
import { rename, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Page } from 'playwright-core';
import { openAdminScene, type SignedIn, signIn } from '../admin/admin-scene.ts';
import { browserPrograms, screenshot, startBrowser } from '../support/browser.ts';
import { findProgram } from '../support/servers/programs.ts';
import { type Shot, takeStory } from './story.ts';

const readmeBytesMax = 120_000;
/** State of the story to picture of the documents. */
const readmePictures: Readonly<Record<string, string>> = {
  overview: 'overview',
  'on-verified': 'server-encryption',
};

/** What has to be installed; a line with the packages that are missing, or null. */
function missing(): string | null {
  const needs: readonly (readonly [programs: readonly string[], packageName: string])[] = [
    [browserPrograms, 'chromium'],
    [['dovecot'], 'dovecot-imapd'],
    [['mariadbd'], 'mariadb-server-core'],
    [['mariadb'], 'mariadb-client-core'],
  ];
  const names = needs
    .filter(([programs]) => programs.every((name) => findProgram(name) === null))
    .map(([, name]) => name);
  if (names.length === 0) return null;
  return `missing: ${names.join(', ')}. As root: apt-get install -y --no-install-recommends ${names.join(' ')}`;
}

const looks = ['light', 'dark'] as const;

async function main({
  folder,
  isReadme,
}: {
  readonly folder: string | null;
  readonly isReadme: boolean;
}): Promise<number> {
  const lacking = missing();
  if (lacking !== null) return fail(lacking);
  const target = folder ?? mkdtempSync(join(tmpdir(), 'ticketmaild-screenshots-'));
  say('Starting a mail server, a database, the daemon and a browser');
  await using scene = await openAdminScene({ mailboxes: 6, names: demoNames, pollIntervalS: 2 });
  await using browser = await startBrowser();
  await scene.start();
  const ada = await signIn(scene);
  await using opened = await browser.open({ width: 1000, height: isReadme ? 820 : 900 });
  await opened.context.addCookies(cookiesOf(ada));
  const { page } = opened;
  const shoot: Shot = async (name) => {
    if (isReadme) {
      const picture = readmePictures[name];
      if (picture !== undefined) await forReadme(page, scene.dataDir, picture);
      return;
    }
    for (const scheme of looks) {
      await page.emulateMedia({ colorScheme: scheme });
      say(await screenshot(page, target, `${name}-${scheme}`));
    }
  };
  await takeStory({ scene, page, ada, shoot });
  if (opened.troubles.length > 0) return fail(opened.troubles.join('\n'));
  if (!isReadme) say(`The pictures are in ${target}`);
  return 0;
}

/** Of the part of the page that fits into the window. The folder of this run is shown as that of the service. */
async function forReadme(page: Page, dataDir: string, name: string): Promise<void> {
  await page.evaluate(
    `for (const code of document.querySelectorAll('main code')) code.textContent = code.textContent.replaceAll(${JSON.stringify(dataDir)}, '/var/lib/ticketmaild'); window.scrollTo(0, 0)`,
  );
  const path = await screenshot(page, import.meta.dirname, `.${name}-new`, false);
  const { size } = await stat(path);
  if (size > readmeBytesMax) throw new Error(`the picture ${name} has ${size} bytes, more than ${readmeBytesMax}`);
  const picture = join(import.meta.dirname, `${name}.png`);
  await rename(path, picture);
  say(`Wrote ${picture}`);
}

function cookiesOf({ cookies }: SignedIn) {
  return [...cookies].map(([name, value]) => ({ name, value, domain: '127.0.0.1', path: '/admin' }));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(line: string): number {
  process.stderr.write(`screenshots: ${line}\n`);
  return 1;
}

const demoNames = ['billing', 'orders', 'press', 'returns', 'sales', 'support'];

function optionsOf(args: readonly string[]): Parameters<typeof main>[0] | null {
  try {
    const options = { readme: { type: 'boolean', default: false } } as const;
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    if (positionals.length > 1) return null;
    return { folder: positionals[0] === undefined ? null : resolve(positionals[0]), isReadme: values.readme };
  } catch {
    return null;
  }
}

const given = optionsOf(process.argv.slice(2));
if (given === null) {
  fail('usage: npm run screenshots -- [FOLDER] [--readme]');
  process.exitCode = 2;
} else
  process.exitCode = await main(given).catch((error: unknown) =>
    fail(error instanceof Error ? error.message : `${error}`),
  );
