/** Self-test: a Node that is too old is a warning, and no failure. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startScriptedServer } from '../adapters/imap/scripted-server.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { openCommandLine, runInProcess } from './command-line.ts';

test('check warns of a Node without security fixes, and ends as without it', async () => {
  await using folder = await temporaryFolder('check');
  const env = { TICKETMAILD_DATA_DIR: join(folder.path, 'data') };
  const outdatedNode = 'Node 26.0.0 lacks security fixes of 26.12.1';
  const [warned, silent] = [
    await runInProcess(['check'], { env, outdatedNode }),
    await runInProcess(['check'], { env }),
  ];
  expect(warned.out).toMatch(/^warning node: Node 26\.0\.0 lacks security fixes of 26\.12\.1\n {8}hint: Use the Node /);
  expect(warned).toEqual({ ...silent, out: expect.stringContaining(silent.out) });
});

test('the hint of a mailbox that fails names it, and not NAME', async () => {
  await using server = await startScriptedServer({
    script(command, _rest, tag, { say }) {
      if (command !== 'AUTHENTICATE' && command !== 'LOGIN') return false;
      say(`${tag} NO [AUTHENTICATIONFAILED] refused`);
      return true;
    },
  });
  await using cli = await openCommandLine({ TICKETMAILD_ADMIN_LISTEN: 'off' });
  const add = ['mailbox', 'add', '--name', 'Tat Rat', '--host', '127.0.0.1', '--port', `${server.port}`];
  const ended = await cli.run([...add, '--tls', 'none', '--user', 'desk', '--no-probe', '--password-stdin'], 'pw');
  expect(ended).toMatchObject({ code: 0 });
  const { code, out } = await cli.run(['check']);
  expect(code).toBe(1);
  expect(out).toMatch(/^failed {2}mailbox Tat Rat: .*refused/m);
  expect(out).toContain("ticketmaild mailbox set-password 'Tat Rat'");
  expect(out).not.toMatch(/\bNAME\b/);
});
