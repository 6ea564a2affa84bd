/**
 * A core dump of a process after 100 logins by access token, whose sessions are open: 0 copies of the token.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { newCanary } from '../../../support/leaks/canary.ts';
import { type EchoLogin, mask } from '../../../support/leaks/echo-login.ts';
import { gcore, searchCore, searchMemory, smallCore } from '../../../support/leaks/memory-search.ts';
import { ended } from '../../../support/servers/programs.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { startScriptedServer } from '../scripted-server.ts';

const logins = 100;

test('after 100 logins neither the beginning of a token nor its end is in the memory', {
  timeout: 120_000,
}, async () => {
  const [first, last] = [newCanary(20), newCanary(20)];
  const token = Buffer.concat([first, newCanary(2000), last]);
  const masked = [...token].map((byte) => byte ^ mask);
  await using xoauth2 = await startScriptedServer({ capabilities: 'IMAP4rev1 AUTH=XOAUTH2' });
  await using bearer = await startScriptedServer({ capabilities: 'IMAP4rev1 AUTH=OAUTHBEARER' });
  const holder = spawn(
    process.execPath,
    [...smallCore, `${import.meta.dirname}/../../../support/leaks/echo-login.ts`],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const end = ended(holder);
  for (let count = 0; count < logins; count += 1) {
    const { port } = count % 2 === 0 ? xoauth2 : bearer;
    const line: EchoLogin = { kind: 'token', masked, port, fingerprint: null };
    holder.stdin.write(`${JSON.stringify(line)}\n`);
    expect(`${(await once(holder.stdout, 'data'))[0]}`.trim()).toBe('open');
  }
  await using folder = await temporaryFolder('core');
  const core = await gcore(holder.pid ?? -1, folder.path);
  for (const part of [first, last]) {
    const found = core === null ? await searchMemory(holder.pid ?? -1, part) : await searchCore(core, part);
    expect(found.searchedBytes).toBeGreaterThan(10_000_000);
    expect(found.hits).toEqual([]);
  }
  // Its sessions are open.
  holder.kill('SIGKILL');
  await end;
});
