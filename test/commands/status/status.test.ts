import stringWidth from 'string-width';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { statusLines } from '../../../src/commands/status/view.ts';
import type { StatusReply } from '../../../src/compose/control-socket.ts';
import { hintOf } from '../../../src/errors.ts';
import type { Readiness } from '../../../src/ingest/readiness.ts';
import { providerFailure } from '../../../src/oauth/provider-errors.ts';
import { hints } from '../../../src/text/hints.ts';
import { spanText } from '../../../src/text/units.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { type CommandOptions, plainLines, runInProcess } from '../command-line.ts';
import { ago, bad, fine, mailbox, type SampleServer, sampleMs, serveSample } from './samples.ts';

let server: SampleServer;

beforeEach(async () => {
  server = await serveSample(fine);
});

afterEach(() => server[Symbol.asyncDispose]());

const answered = { status: 400, error: 'invalid_client', retryAfter: null, atMs: sampleMs };
const secretExpired = providerFailure('m365', 'application', { ...answered, microsoftNumbers: [7_000_222] });
const nowMs = (): number => sampleMs;

function status(args: readonly string[] = [], options: CommandOptions = {}): ReturnType<typeof runInProcess> {
  const env = { TICKETMAILD_DATA_DIR: server.dataDir };
  return runInProcess(['status', ...args], { nowMs, env, ...options });
}

/** The sample of a night that went wrong, with such mailboxes. */
function withMailboxes(list: Readiness['checks']['mailboxes']['list']): Readiness {
  return { ...bad, checks: { ...bad.checks, mailboxes: { ...bad.checks.mailboxes, list } } };
}

function many(count: number): Readiness['checks']['mailboxes']['list'] {
  const reason = 'connect_refused: The server refuses the connection.';
  return Array.from({ length: count }, (_, index) =>
    mailbox(`box-${index}`, {
      status: 'failing',
      reason,
      hint: hintOf('connect_refused'),
      failures: 1,
      since: ago(index),
    }),
  );
}

describe('a daemon that is ready', () => {
  test('is exit code 0, and each check is one line', async () => {
    const { code, out, err } = await status();
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const lines = plainLines(out);
    expect(lines[0]).toBe('READY');
    expect(lines[1]).toBe('ticketmaild 0.1.0, pid 4711 on desk1, up 3 d 4 h, log level info');
    expect(lines[2]).toMatch(/^as of 2026-01-31 \d\d:\d\d:09 [+-]\d\d:\d\d$/);
    const checks = lines.slice(lines.findIndex((line) => line.startsWith('CHECK')) + 1);
    expect(checks.slice(0, 17).map((line) => line.split(' ')[0])).toEqual(Object.keys(fine.checks));
    expect(out).toContain('database      ok       3 d 4 h    2 busy, 6 open of 10 connections');
    expect(lines.at(-1)).toBe('mailboxes: 2 ok, 1 paused (show them: --all)');
  });

  test('lists the mailboxes that are ok with --all only', async () => {
    expect((await status()).out).not.toMatch(/^support/m);
    expect((await status(['--all'])).out).toMatch(/^support +imap\.example\.com +ok +1 min ago +in 1 min +idling$/m);
  });

  test('names the checks that fail in the line READY', async () => {
    server.answer = { ...bad, ready: true };
    const { code, out } = await status();
    expect(code).toBe(0);
    expect(plainLines(out)[0]).toBe('READY, with failures: database (database_unavailable)');
  });
});

describe('a daemon that is not ready', () => {
  beforeEach(() => {
    server.answer = bad;
  });

  test('is exit code 1, with the failing checks in the first line', async () => {
    const { code, out } = await status();
    const lines = plainLines(out);
    expect(code).toBe(1);
    expect(lines[0]).toBe('NOT READY: database (database_unavailable)');
    expect(lines[1]).toMatch(/^warnings: vault \(key_file_missing\), servers/);
  });

  test('lists failing checks first, with reason and hint', async () => {
    const lines = plainLines((await status()).out);
    const at = (start: string): number => lines.findIndex((line) => line.startsWith(start));
    const order = ['database ', 'vault ', 'servers ', 'certificates ', 'mailboxes ', 'disk ', 'quarantine '].map(at);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(lines[at('database ') + 1]?.trim()).toBe(bad.checks.database.reason);
    expect(lines[at('database ') + 2]?.trim()).toBe(`hint: ${bad.checks.database.hint}`);
  });

  test('groups mailboxes by reason, and shows the reason once', async () => {
    const { out } = await status();
    expect(out).toMatch(/^support .+ 12 x .+34 min.+in 2 min +36 min ago\nbilling .+ 7 x .+\n {2}login_refused: /m);
    expect(out.match(/login_refused: /g)).toHaveLength(1);
    expect(out).toMatch(/^a-mailbox-with-a-rather-long-name .+never$/m);
  });

  test.each([
    ['name_not_found', hints.dnsFailing],
    [secretExpired.code, secretExpired.hint],
  ])('shows the hint of the failure itself, as it is one of this program (%s: %s)', async (code, hint) => {
    server.answer = withMailboxes([mailbox('one', { status: 'failing', reason: `${code}: no`, hint })]);
    expect((await status()).out.replaceAll(/\s+/g, ' ')).toContain(`hint: ${hint}`);
  });

  test('names the mailbox in the command of a hint, where one mailbox alone has it', async () => {
    const reason = 'oauth_needs_consent: the provider ended the grant';
    const anna = mailbox("anna's", { status: 'failing', reason, hint: hintOf('oauth_needs_consent') });
    server.answer = withMailboxes([anna]);
    expect((await status()).out).toContain("hint: Sign in again: ticketmaild mailbox authorize 'anna'\\''s'");
    server.answer = withMailboxes([anna, { ...anna, mailbox: 'ben' }]);
    expect((await status()).out).toContain('hint: Sign in again: ticketmaild mailbox authorize NAME');
  });

  test('says since when a mailbox fails that is not polled, and counts no failed poll', async () => {
    const reason = 'oauth_needs_consent: grant anna was ended by its provider (invalid_grant)';
    const locked = mailbox('anna', { status: 'failing', reason, since: ago(5), next_poll: null, last_success: ago(6) });
    server.answer = withMailboxes([locked, mailbox('support')]);
    expect((await status()).out).toMatch(/^anna +imap.example.com +- +5 min +- +6 min ago$/m);
  });

  test.each([60, 80, 140])('fits in %i columns', async (columns) => {
    const { out } = await status(['--all'], { size: { columns, rows: 24 } });
    for (const line of plainLines(out)) expect(stringWidth(line)).toBeLessThanOrEqual(columns);
  });

  test('with a thousand failing mailboxes shows ten of each reason, and all with --all', async () => {
    server.answer = withMailboxes([...many(1000), mailbox('one', { status: 'failing', reason: 'y', hint: null })]);
    const few = plainLines((await status()).out);
    expect(few.filter((line) => line.startsWith('box-'))).toHaveLength(10);
    expect(few).toContain('… 990 more with the same reason (show them: --all)');
    expect(few.some((line) => line.startsWith('one '))).toBe(true);
    const all = plainLines((await status(['--all'])).out);
    expect(all.filter((line) => line.startsWith('box-'))).toHaveLength(1000);
  });

  test('counts the mailboxes that the daemon left off its list', async () => {
    const { checks } = withMailboxes(many(200));
    server.answer = { ...bad, checks: { ...checks, mailboxes: { ...checks.mailboxes, not_listed: 4800 } } };
    expect((await status()).out).toMatch(/^mailboxes: 42 ok, 1 paused, 4800 more that are not listed$/m);
  });

  test('cannot send control sequences to the terminal', async () => {
    const evil = '\x1b]0;title\x07\x1b[2J\x9b31m\u202e\n\t';
    const one = mailbox(evil, { status: 'failing', reason: `${evil}: ${evil}`, hint: evil, host: evil });
    server.answer = { ...withMailboxes([one]), worker: { ...bad.worker, name: evil, host: evil, log_level: evil } };
    const { out } = await status(['--all'], { size: { columns: 80, rows: 24 } });
    expect(out).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
  });

  test('has colours on a terminal only', async () => {
    const size = { columns: 80, rows: 24 };
    expect((await status([], { size, colours: true })).out).toContain('\x1b[31m');
    expect((await status([], { colours: true })).out).not.toContain('\x1b');
  });

  test('is one JSON object with --json', async () => {
    const { code, out } = await status(['--json']);
    expect(code).toBe(1);
    const mailboxes = { ...bad.checks.mailboxes, not_listed: 0 };
    expect(JSON.parse(out)).toEqual({ ...bad, checks: { ...bad.checks, mailboxes } });
  });
});

describe('an unusable answer', () => {
  async function failure(): Promise<string> {
    const { code, out, err } = await status();
    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(out).toMatch(/^[^\n]+\nhint: [^\n]+\n$/);
    return out;
  }

  test('because no daemon runs is one line and a hint', async () => {
    await using folder = await temporaryFolder('away');
    const seen = await status([], { env: { TICKETMAILD_DATA_DIR: folder.path } });
    expect(seen).toMatchObject({ code: 1, out: '' });
    expect(seen.err).toMatch(
      /^no daemon answers at \/.+\/control\.sock \(ENOENT\)\nhint: The daemon listens on data_dir/,
    );
  });

  test.each<[string, unknown, RegExp]>([
    ['a daemon without readiness', { hello: 1 }, /^the answer of the daemon at .+ lacks ready\n/],
    ['a daemon of another version', { ready: false }, /^the answer of the daemon at .+ lacks worker\n/],
    [
      'a daemon whose database hangs',
      { ready: false, late: true },
      /^the daemon at .+ runs, and could not determine its readiness in time\nhint: Most likely its database hangs/,
    ],
  ])('comes from %s', async (_title, answer, message) => {
    server.answer = answer;
    expect(await failure()).toMatch(message);
  });

  test.each([
    ['is not JSON', '<html>', /\(its answer is not JSON\)/],
    ['does not end', `"${'x'.repeat(2_000_000)}"`, /\(its answer is too long\)/],
  ])('that %s is no answer', async (_title, answer, message) => {
    server.answer = answer;
    expect(await status()).toMatchObject({ code: 1, out: '', err: expect.stringMatching(message) });
  });
});

describe('one strange value', () => {
  type Thing = { [name: string]: Thing };

  /** The sample with `value` at `path`. */
  function withValue(path: string, value: unknown): unknown {
    const answer = structuredClone(bad) as unknown as Thing;
    const names = path.split('.');
    const last = names.pop() ?? '';
    const parent = names.reduce((thing, name) => thing[name] as Thing, answer);
    parent[last] = value as Thing;
    return answer;
  }

  test.each<[string, unknown, RegExp]>([
    ['checks.workers.list.1.pid', '18446744073709551615', /1 live, 1 lost \(desk2:1844674407370955\d+ 3 h/],
    ['checks.workers.list.1.pid', null, /1 live, 1 lost \(desk2:\? 3 h/],
    ['checks.workers.live', 'x', /^workers +ok .+\? live/m],
    ['checks.disk.free_bytes', 'much', /^disk +ok .+free space unknown/m],
    ['checks.vault.status', 'on fire', /^vault +unknown /m],
    ['checks.servers.list', 7, /^servers .+no circuit open/m],
    ['checks.clock', null, /^clock +unknown /m],
    ['checks.scheduler.due_oldest_age_ms', {}, /31 due for up to \?/],
    ['checks.mailboxes.list.0.failures', [], /^support .+ \? x /m],
    ['worker.started_at', 1, / up \?| up -/],
  ])('at %s is named, and the rest is shown', async (path, value, shown) => {
    server.answer = withValue(path, value);
    const { code, out, err } = await status(['--all'], { size: { columns: 200, rows: 24 }, colours: true });
    expect({ code, err }).toEqual({ code: 1, err: '' });
    const text = plainLines(out).join('\n');
    expect(text).toMatch(/^NOT READY: database/);
    expect(text).toMatch(shown);
    expect(text).toContain(`not understood: ${path} (`);
    expect(text).not.toMatch(/NaN|undefined/);
  });
});

describe('a row', () => {
  async function row(name: string, change: Partial<Readiness['checks']>): Promise<string> {
    server.answer = { ...bad, checks: { ...bad.checks, ...change } };
    const lines = plainLines((await status()).out);
    return lines[lines.findIndex((line) => line.startsWith(`${name} `))] ?? '';
  }

  test('of servers shows the next attempt', async () => {
    expect(await row('servers', {})).toContain(
      'circuit open: mail.partner.example:993 with implicit TLS (next attempt in 1 min)',
    );
  });

  test('of workers says before the first heartbeat that there is none', async () => {
    const workers = { ...fine.checks.workers, live: 0, list: [] };
    expect(await row('workers', { workers })).toMatch(/ no heartbeat yet$/);
  });

  test('of push names the mailboxes whose push is suspended', async () => {
    expect(await row('push', {})).toMatch(/^push +ok /);
    const list = [{ mailbox: 'support', state: 'suspended', code: 'idle_refused', until: null }] as const;
    const push = { ...fine.checks.push, status: 'warning', suspended: 1, list } as const;
    expect(await row('push', { push })).toMatch(/^push +warning .*suspended for 1 \(support, again -\)$/);
  });

  test('of a failing disk omits the free space measured before', async () => {
    const disk = { ...fine.checks.disk, status: 'failing', reason: 'disk_full: x', hint: 'y' } as const;
    expect(await row('disk', { disk })).toMatch(/^disk +failing .+ not writable$/);
  });

  test('of the configuration names the tables that need a restart', async () => {
    const config = { ...fine.checks.config, status: 'warning', reason: 'restart_needed: x', hint: null } as const;
    expect(await row('config', { config: { ...config, needs_restart: ['database', 'http'] } })).toMatch(
      / restart needed for: database, http$/,
    );
    expect(await row('config', { config: { ...config, needs_restart: [] } })).toMatch(/ stays in force$/);
  });
});

describe('an invalid configuration', () => {
  const invalid = (): Record<string, string> => ({
    TICKETMAILD_DATA_DIR: server.dataDir,
    TICKETMAILD_LOG_LEVEL: 'loud',
  });

  test.each([
    [fine, 0],
    [bad, 1],
  ] as const)('is reported beside the answer of the daemon in the data folder that it names', async (answer, code) => {
    server.answer = answer;
    const seen = await status([], { env: invalid() });
    expect(seen.code).toBe(code);
    expect(plainLines(seen.out)[0]).toMatch(/^the configuration is invalid: TICKETMAILD_LOG_LEVEL must be .+"loud"/);
    expect(seen.out).toMatch(answer.ready ? /^READY$/m : /^NOT READY/m);
    const json = await status(['--json'], { env: invalid() });
    expect(JSON.parse(json.out)).toMatchObject({ ready: answer.ready });
    expect(json.err).toMatch(/^the configuration is invalid: /);
  });

  test('without a daemon there is one line with both', async () => {
    await using folder = await temporaryFolder('away');
    const env = { ...invalid(), TICKETMAILD_DATA_DIR: folder.path };
    const { code, out, err } = await status([], { env });
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(
      /^the configuration is invalid: .+; and no daemon answers at .+\nhint: Correct the configuration/,
    );
  });
});

describe('workers of one data folder', () => {
  const reply = (name: string, answer: Readiness): StatusReply => ({
    socket: `/data/control-${name}.sock`,
    answer: { ...answer, worker: { ...answer.worker, name } },
  });
  const run = (replies: readonly StatusReply[], ...args: string[]) =>
    status(args, { inputs: { askStatus: async () => replies }, size: { columns: 80, rows: 24 } });

  test('are shown one below the other', async () => {
    const { code, out } = await run([reply('1', fine), reply('3', bad)]);
    expect(code).toBe(1);
    const lines = plainLines(out);
    const titles = lines.flatMap((line, index) => (line.startsWith('== ') ? [[line, lines[index + 1]]] : []));
    expect(titles).toEqual([
      [expect.stringMatching(/^== worker 1 at \/data\/control-1\.sock =+$/), 'READY'],
      [expect.stringMatching(/^== worker 3 at \/data\/control-3\.sock =+$/), expect.stringMatching(/^NOT READY/)],
    ]);
  });

  test('of which one hangs show that', async () => {
    const late = { socket: '/data/control-3.sock', answer: { ready: false, late: true } };
    const { code, out } = await run([reply('1', fine), late]);
    expect(code).toBe(1);
    expect(out).toMatch(/^READY$/m);
    expect(out.replaceAll('\n', ' ')).toMatch(
      /== ticketmaild at \/data\/control-3\.sock =+ the daemon at .+ runs, and could/,
    );
  });

  test('are all ready for exit code 0, and one line of JSON each', async () => {
    const { code, json } = await run([reply('1', fine), reply('3', fine)], '--json');
    expect(code).toBe(0);
    expect(json).toMatchObject([{ worker: { name: '1' } }, { worker: { name: '3' } }]);
  });
});

test('durations are shown in the two largest units', () => {
  const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000];
  const told = [-5 * second, 59 * second, 119 * second, 60 * minute, 3 * hour + 5 * minute, 4 * day + 3 * hour];
  expect(told.map(spanText)).toEqual(['0 s', '59 s', '1 min', '1 h', '3 h 5 min', '4 d 3 h']);
});

test('without a width no line is wrapped', () => {
  const lines = statusLines(
    { ...bad, notListed: 0, strange: [] },
    { nowMs: sampleMs, asOfMs: sampleMs, width: null, all: false },
  );
  expect(lines.flat().some((piece) => piece[0] === bad.checks.database.reason)).toBe(true);
});
