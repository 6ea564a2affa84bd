/** The Node that packages contain: pinned in one version, which `engines` requires. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { readPackage } from '../../systemd/packaging/checkout.ts';
import { architectures, nodeBinary, pinnedNode, thisArchitecture } from '../../systemd/packaging/node-package.ts';

test('engines and the packages of both architectures name one version', async () => {
  const { engines, optionalDependencies } = await readPackage();
  for (const architecture of architectures) {
    const { name, version } = await pinnedNode(architecture);
    expect(engines.node).toBe(`>=${version}`);
    expect(optionalDependencies[name]).toBe(version);
  }
});

test('the binary for this machine is of that version', async () => {
  const { version } = await pinnedNode(thisArchitecture());
  const printed = execFileSync(await nodeBinary(thisArchitecture()), ['--version'], { encoding: 'utf8' });
  expect(printed).toBe(`v${version}\n`);
});
