/** Third-party licences: which packages fail the build. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkout, readLock } from '../../../systemd/packaging/checkout.ts';
import { readBundledPackages, thirdPartyLicences } from '../../../systemd/packaging/licences.ts';
import { temporaryFolder } from '../../support/temporary.ts';

/** The result for a copy of piscina with another package.json. */
async function read(changes: Readonly<Record<string, string>>): Promise<unknown> {
  await using folder = await temporaryFolder('licences');
  const path = join(folder.path, 'node_modules/piscina');
  await mkdir(path, { recursive: true });
  const version = (await readLock())['node_modules/piscina']?.version;
  await writeFile(join(path, 'package.json'), JSON.stringify({ name: 'piscina', version, license: 'MIT', ...changes }));
  return await readBundledPackages([path]);
}

test('a package needs a known licence, or a choice that contains one', async () => {
  await expect(read({})).resolves.toMatchObject([{ name: 'piscina', license: 'MIT' }]);
  await expect(read({ license: '(MIT OR GPL-3.0-only)' })).resolves.toHaveLength(1);
  for (const license of ['GPL-3.0-only', 'MIT AND GPL-3.0-only', 'UNLICENSED']) {
    await expect(read({ license })).rejects.toThrow(`has the licence ${license}, which is not known`);
  }
});

test('a package needs the version of package-lock.json', async () => {
  await expect(read({ version: '0.0.1' })).rejects.toThrow(/^node_modules\/piscina has version 0\.0\.1, package-lock/);
});

test('a package for development alone is refused', async () => {
  const folder = join(checkout, 'node_modules/rolldown');
  await expect(readBundledPackages([folder])).rejects.toThrow('is in the bundle, but for development alone');
});

test('a package without the text of its licence is refused', async () => {
  const without = { path: 'test/systemd', name: 'x', version: '1.0.0', license: 'MIT' };
  await expect(thirdPartyLicences([without])).rejects.toThrow('test/systemd contains no text of its licence');
});
