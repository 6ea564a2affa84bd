/** The scene that must be found: a process that gives imapflow the password as text, as its documentation does. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { hitCount, smallCore } from '../../support/leaks/memory-search.ts';
import { ended } from '../../support/servers/programs.ts';
import { type Place, type SceneReport, searchProcess } from './memory-scene.ts';
import type { PlainLogin } from './plain-login.ts';

const usersMax = 20;

export async function controlScene({ dovecot, canary, mailboxes, progress }: Place): Promise<readonly SceneReport[]> {
  const users = Array.from({ length: Math.min(usersMax, mailboxes) }, () => dovecot.newUser());
  progress(`control: ${users.length} logins in the plain way`);
  const login: PlainLogin = { host: dovecot.host, port: dovecot.tlsPort, caPem: dovecot.caPem, users };
  const child = spawn(process.execPath, [...smallCore, join(import.meta.dirname, 'plain-login.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {},
  });
  const end = ended(child);
  try {
    child.stdin.end(Buffer.concat([Buffer.from(`${JSON.stringify(login)}\n`), canary]));
    const ready = await Promise.race([once(child.stdout, 'data'), end]);
    if (!Array.isArray(ready)) throw new Error(`the control ended with ${ready} before it had logged in`);
    const searched = await searchProcess(child.pid ?? -1, canary);
    const passed = hitCount(searched.memory) > 0 && (searched.core === null || hitCount(searched.core) > 0);
    return [{ scene: 'control: imapflow as documented', logins: users.length, ...searched, log: [], passed }];
  } finally {
    child.kill('SIGKILL');
    await end;
  }
}
