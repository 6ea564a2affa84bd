import { expect, test } from 'vitest';
import type { StatusReply } from '../../../src/compose/control-socket.ts';
import { Failure } from '../../../src/errors.ts';
import type { MailboxCheck } from '../../../src/ingest/readiness.ts';
import { openCommandLine, runInProcess } from '../command-line.ts';
import { fine, mailbox } from '../status/samples.ts';

const away: Partial<MailboxCheck> = { status: 'failing', reason: 'server_timeout: silent', hint: 'check it' };

function reply(socket: string, list: readonly MailboxCheck[]): StatusReply {
  const { checks } = fine;
  return { socket, answer: { ...fine, checks: { ...checks, mailboxes: { ...checks.mailboxes, list } } } };
}

/** Two mailboxes that were polled successfully, and a row of `worker` that is live. */
async function scene() {
  const cli = await openCommandLine();
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
  for (const name of ['sales', 'support']) await cli.run(['mailbox', 'add', '--name', name, ...server], 'pw');
  cli.sql(`update mailbox_state set last_success_at = next_poll_at where true`);
  const list = (askStatus: () => Promise<readonly StatusReply[]>, ...args: string[]) =>
    runInProcess(['mailbox', 'list', ...args], { env: cli.env, inputs: { askStatus } });
  return { cli, list };
}

test('the verdict is that of the worker, which knows more than the rows', async () => {
  const { cli, list } = await scene();
  await using _cli = cli;
  const { out } = await list(async () => [reply('/1', [mailbox('support', away), mailbox('sales')])]);
  expect(out).toMatch(/^support +failing .* server_timeout /m);
  expect(out).toMatch(/^sales +ok /m);
  const { json } = await list(async () => [reply('/1', [mailbox('support', away)])], '--json');
  expect(json.map(({ name, status, status_code: code }) => [name, status, code])).toEqual([
    ['sales', 'ok', null],
    ['support', 'failing', 'server_timeout'],
  ]);
});

test('the push of a mailbox is that of the worker, with the reason and the rest of a suspension', async () => {
  const { cli, list } = await scene();
  await using _cli = cli;
  const until = new Date(Date.now() + 43.5 * 60_000).toISOString();
  const suspended = mailbox('support', { push: { state: 'suspended', code: 'idle_refused', until } });
  const askStatus = async () => [reply('/1', [suspended, mailbox('sales')])];
  expect((await list(askStatus)).out).toMatch(/^support +ok .* suspended /m);
  const shown = await runInProcess(['mailbox', 'show', 'support'], { env: cli.env, inputs: { askStatus } });
  expect(shown.out).toMatch(/^push +suspended for another 43 min \(the server rejects IDLE\)$/m);
  const { json } = await list(askStatus, '--json');
  expect(json.map(({ push }) => push)).toMatchObject([{ state: 'polled' }, { state: 'suspended', until }]);
});

test('of two workers the one whose connection idles decides, else the one that sees a failure', async () => {
  const { cli, list } = await scene();
  await using _cli = cli;
  const first = reply('/1', [
    mailbox('sales', { push: { state: 'idling', code: null, until: null } }),
    mailbox('support', away),
  ]);
  const second = reply('/2', [mailbox('sales', away), mailbox('support')]);
  for (const replies of [
    [first, second],
    [second, first],
  ]) {
    const { out } = await list(async () => replies);
    expect(out).toMatch(/^sales +ok /m);
    expect(out).toMatch(/^support +failing /m);
  }
});

test('without a worker the rows decide: a server that two did not reach, and what was due a minute ago', async () => {
  const { cli } = await scene();
  await using _cli = cli;
  const none = () => Promise.reject(new Failure('daemon_unreachable', 'no daemon'));
  const list = async () => (await runInProcess(['mailbox', 'list'], { env: cli.env, inputs: { askStatus: none } })).out;
  expect(await list()).toMatch(/^sales +ok /m);
  await cli.run(
    ['mailbox', 'add', '--name', 'third', '--host', 'mail.example', '--user', 'd', '--no-probe', '--password-stdin'],
    'pw',
  );
  cli.sql(
    `update mailbox_state set failures = 1, last_error_code = 'connect_refused', last_error_message = 'no',
      last_error_hint = 'h', last_error_at = last_success_at + 1000, failing_since = last_success_at + 1000
      where mailbox_id in (select id from mailboxes where name in ('sales', 'support'))`,
  );
  expect(await list()).toMatch(/^third +failing .* connect_refused /m);
  cli.sql(
    `update mailbox_state set failures = 0, last_error_at = null, next_poll_at = next_poll_at - 120000 where true`,
  );
  expect(await list()).toMatch(/^sales +failing .* overdue /m);
});
