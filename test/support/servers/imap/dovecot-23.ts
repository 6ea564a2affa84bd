/** Dovecot 2.3 as it is installed, with users of the matrix beside those of `dovecot.ts`. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../temporary.ts';
import { startDovecot } from '../dovecot.ts';
import { runProgram } from '../programs.ts';
import type { ImapServer, Users } from './imap-server.ts';

export async function startDovecot23(users: Users): Promise<ImapServer> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('dovecot-users'));
  const file = join(folder.path, 'users');
  await writeFile(file, dovecotUsers(users), { mode: 0o644 });
  await runProgram('chmod', ['755', folder.path]);
  const settings = `passdb {\n  driver = passwd-file\n  args = scheme=PLAIN username_format=%u ${file}\n}`;
  const { host, port, tlsPort, caPem, caFile } = building.use(await startDovecot({ settings }));
  const version = (await runProgram('dovecot', ['--version'])).split(' ')[0] ?? '';
  const undo = building.move();
  return {
    ...{ version: version.trim(), host, port, tlsPort, caPem, caFile },
    ...{ prefix: '', isShared: false, [Symbol.asyncDispose]: () => undo.disposeAsync() },
  };
}

/** A passwd-file of Dovecot; base64, since a password may hold colons. */
export function dovecotUsers(users: Users): string {
  return [...users]
    .map(([user, password]) => `${user}:{PLAIN.B64}${Buffer.from(password).toString('base64')}::::::\n`)
    .join('');
}
