/**
 * Documents that Debian Policy asks of a package: its changelog (deb-changelog(5)), from CHANGELOG.md, and its copyright
 * file, from the licences of what it contains.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkout } from '../checkout.ts';
import type { BundledPackage } from '../licences.ts';

type Release = { readonly version: string; readonly dateS: number; readonly maintainer: string };

/** Columns of a line of the changelog. */
const columns = 80;

/** The changes of this version, one item for each in CHANGELOG.md, which has the complete history. */
export async function debianChangelog({ version, dateS, maintainer }: Release): Promise<string> {
  const text = await readFile(join(checkout, 'CHANGELOG.md'), 'utf8');
  const [, section = ''] = text.split(`\n## ${version} - `);
  const body = section.split('\n## ', 1)[0] ?? '';
  const items = body
    .split(/\n(?=- |#|\n)/)
    .filter((item) => /^(- |### (Added|Changed|Fixed|Removed|Security)$)/.test(item));
  const lines = items.map((item) =>
    item.startsWith('#')
      ? `  [ ${item.slice('### '.length)} ]`
      : wrapped(item.slice('- '.length).replace(/\s+/g, ' '), '  * ', '    '),
  );
  const date = new Date(dateS * 1000).toUTCString().replace('GMT', '+0000');
  return `ticketmaild (${version}) unstable; urgency=medium\n\n${lines.join('\n')}\n\n -- ${maintainer}  ${date}\n`;
}

function wrapped(text: string, first: string, rest: string): string {
  const lines: string[] = [];
  let line = first.trimEnd();
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length <= columns) line += ` ${word}`;
    else {
      lines.push(line);
      line = `${rest}${word}`;
    }
  }
  return [...lines, line].join('\n');
}

/** The licence of the program, and what others made in the package; the texts of their licences are in a file beside it. */
export async function copyrightFile(packages: readonly BundledPackage[]): Promise<string> {
  const licence = await readFile(join(checkout, 'LICENSE'), 'utf8');
  const names = packages.map(({ name, version, license }) => `  ${name} ${version} (${license})`);
  return [
    `ticketmaild is under the ${licence.trim()}`,
    '',
    '/usr/lib/ticketmaild/node is Node.js, with OpenSSL, ICU, V8 and others in it, and',
    '/usr/lib/ticketmaild/lib contains these packages of npm:',
    '',
    ...names,
    '',
    'Every copyright notice and licence text of theirs is in',
    '/usr/share/doc/ticketmaild/THIRD-PARTY-LICENSES.gz.',
    '',
  ].join('\n');
}
