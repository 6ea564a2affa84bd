/** The package command: what it refuses, in one line, before it builds anything. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const command = fileURLToPath(new URL('../../../systemd/packaging/package.ts', import.meta.url));

function run(...args: readonly string[]): { readonly status: number | null; readonly stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [command, ...args], { encoding: 'utf8' });
  return { status, stderr };
}

test.each([
  [[], /^package: one kind must be given: .*\bnpm\b.*\n$/],
  [['npm', 'more'], /^package: one kind must be given: .*\n$/],
  [['rpm'], /^package: there is no kind rpm: .*\bnpm\b.*\n$/],
  [['npm', '--arch', 'mips'], /^package: there is no architecture mips: amd64, arm64\n$/],
  [['npm', '--ach', 'arm64'], /^package: Unknown option '--ach'.*See --help\n$/],
])('%j ends with exit code 2 and one line', (args, line) => {
  const { status, stderr } = run(...args);
  expect(stderr).toMatch(line);
  expect(status).toBe(2);
});
