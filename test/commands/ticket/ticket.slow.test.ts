/** Ticket commands: state, reply tokens, addresses, and the messages that use them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type CommandLine, openCommandLine } from '../command-line.ts';

let dovecot: Dovecot;
let cli: CommandLine;

beforeAll(async () => {
  [dovecot, cli] = await Promise.all([
    startDovecot(),
    openCommandLine({ TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: '3' }),
  ]);
});

afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await dovecot[Symbol.asyncDispose]();
});

let messageCount = 0;

function mail(lines: readonly string[], text = 'It does not print.'): Buffer {
  messageCount += 1;
  const sender = lines.some((line) => line.startsWith('From:')) ? [] : [`From: ann${messageCount}@example.org`];
  const id = lines.some((line) => line.startsWith('Message-ID:')) ? [] : [`Message-ID: <m${messageCount}@example.org>`];
  return Buffer.from(`${[...sender, ...id, ...lines].join('\r\n')}\r\n\r\n${text}\r\n`);
}

/** A mailbox of a new user, read from its first mail on. */
async function added(name: string, ...addresses: readonly string[]): Promise<string> {
  const user = dovecot.newUser();
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile, '--user', user];
  const told = addresses.flatMap((address) => ['--address', address]);
  const { code, err } = await cli.run(
    ['mailbox', 'add', '--name', name, ...server, ...told, '--since', 'all', '--password-stdin'],
    'pw\n',
  );
  expect({ code, err }).toEqual({ code: 0, err: expect.stringMatching(/^warning: encryption is off[^\n]+\n$/) });
  return user;
}

async function polled(name: string, user: string, ...sources: readonly Buffer[]) {
  await dovecot.append(user, 'INBOX', sources);
  expect((await cli.run(['poll', name])).code).toBe(0);
  return (await cli.run(['message', 'list', '--mailbox', name, '--json', '--full'])).json;
}

async function shown(ref: unknown) {
  return (await cli.run(['ticket', 'show', `${ref}`, '--json'])).json[0] ?? {};
}

async function printed(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await cli.run(['ticket', ...args]);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out.trim();
}

describe('addresses of a mailbox', () => {
  test('are given when it is added, shown, and changed later', async () => {
    const user = await added('addressed', 'Desk@Example.net', 'help@example.net');
    const show = async () => (await cli.run(['mailbox', 'show', 'addressed', '--json'])).json[0]?.['addresses'];
    expect(await show()).toEqual(['desk@example.net', 'help@example.net']);
    const changed = await cli.run(['mailbox', 'set-addresses', 'addressed', 'new@example.net']);
    expect(changed.out).toBe('addressed receives mail for new@example.net\n');
    expect(await show()).toEqual(['new@example.net']);
    const none = await cli.run(['mailbox', 'set-addresses', 'addressed']);
    expect(none.out).toBe(user.includes('@') ? `addressed receives mail for ${user}\n` : 'addressed has no address\n');
  });

  test.each(['absent', 'a+b@x', 'a@b@c', 'two words@x', 'a,b@x'])('%s is none', async (address) => {
    const { code, err } = await cli.run(['mailbox', 'set-addresses', 'addressed', address]);
    expect(code).toBe(2);
    expect(err).toContain('--address must be a mail address without a plus part');
  });

  test('of a mailbox that is not there cannot be set', async () => {
    expect((await cli.run(['mailbox', 'set-addresses', 'absent', 'a@x'])).code).toBe(4);
  });
});

describe('a reply token', () => {
  test('in the address, or in the Message-ID, takes an answer into its ticket, and what we sent is no news', async () => {
    const user = await added('tokens', 'support@example.org');
    const [opened] = await polled('tokens', user, mail(['Subject: Printer', 'To: support@example.org']));
    const ref = `${opened?.['ticket']}`;
    const address = await printed('reply-address', ref);
    expect(address).toMatch(/^support\+\d{6}-[0-9a-z]{6}-[0-9a-z]{16}@example\.org$/);
    const id = await printed('message-id', ref);
    expect(id).toMatch(/^<tm\.[^<>@]+@example\.org>$/);
    expect(await printed('message-id', ref)).not.toBe(id);
    const rows = await polled(
      'tokens',
      user,
      mail([`To: Desk <${address}>`, 'Subject: something else']),
      mail([`In-Reply-To: ${id}`]),
      mail(['From: support@example.org', `Message-ID: ${id}`]),
      mail(['From: support@example.org', 'Subject: nothing of ours']),
    );
    expect(rows.map(({ outcome, reason, ticket, thread_rule: rule }) => [outcome, reason, ticket, rule])).toEqual([
      ['ticket_opened', null, ref, null],
      ['reply_added', null, ref, 'reply_token'],
      ['reply_added', null, ref, 'reply_token'],
      ['recorded', 'own_mail', ref, 'own'],
      ['quarantined', 'own_address', null, undefined],
    ]);
    const foreign = await cli.run(['ticket', 'reply-address', ref, '--json', '--address', 'x@example.com']);
    expect(foreign.json[0]?.['reply_address']).toMatch(/^x\+.*@example\.com$/);
    expect(foreign.err).toContain('x@example.com is not an address of mailbox tokens');
    expect((await cli.run(['ticket', 'reply-address', ref, '--address', 'SUPPORT@example.org'])).err).toBe('');
  });

  test('needs an address, which the hint says how to tell', async () => {
    const user = await added('bare');
    const [opened] = await polled('bare', user, mail(['Subject: x']));
    const ref = `${opened?.['ticket']}`;
    await cli.run(['mailbox', 'set-addresses', 'bare']);
    if (!user.includes('@')) {
      for (const command of ['reply-address', 'message-id']) {
        const { code, err } = await cli.run(['ticket', command, ref]);
        expect(code).toBe(2);
        expect(err).toContain('ticketmaild mailbox set-addresses bare ADDRESS');
      }
    }
    for (const [args, said] of [
      [['reply-address', ref, '--address', 'none'], '--address must be a mail address'],
      [['reply-address', ref, '--address', `${'a'.repeat(40)}@x.example`], 'has no room for a reply token'],
      [['message-id', ref, '--domain', 'a b'], '--domain must be a host name'],
      [['reply-address', 'NO-1'], 'There is no ticket "NO-1"'],
    ] as const) {
      const { code, err } = await cli.run(['ticket', ...args]);
      expect({ code, err }).toEqual({ code: args[1] === 'NO-1' ? 4 : 2, err: expect.stringContaining(said) });
    }
  });
});

describe('a reference', () => {
  test('is read as people write it', async () => {
    const user = await added('written', 'written@example.org');
    const [opened] = await polled('written', user, mail(['Subject: Printer']));
    const ref = `${opened?.['ticket']}`;
    const commands = ['show', 'close', 'reopen', 'reply-address', 'message-id'];
    for (const written of [ref.toLowerCase(), `#${ref}`, `[#${ref.toLowerCase()}]`])
      for (const command of commands) expect((await cli.run(['ticket', command, written])).code).toBe(0);
    for (const command of commands) {
      const { code, err } = await cli.run(['ticket', command, '#261124-000000']);
      expect(code).toBe(4);
      expect(err).toContain('There is no ticket "261124-000000"');
      expect(err).toMatch(/See ticketmaild ticket list\.\s*$/);
    }
  });

  test('of a ticket whose mailbox was removed wants an address, and the hint knows one', async () => {
    const user = await added('removed', 'heir@example.org');
    const [opened] = await polled('removed', user, mail(['Subject: Printer', 'To: heir@example.org']));
    const ref = `${opened?.['ticket']}`;
    await cli.run(['mailbox', 'remove', 'removed', '--yes']);
    expect((await cli.run(['ticket', 'reply-address', ref])).err).toContain('Give --address.');
    await added('again', 'heir@example.org');
    for (const [command, option] of [
      ['reply-address', '--address heir@example.org'],
      ['message-id', '--domain example.org'],
    ] as const) {
      const { code, err } = await cli.run(['ticket', command, ref]);
      expect(code).toBe(2);
      expect(err).toContain(`Mailbox again gets mail for heir@example.org: give ${option}`);
      const made = await cli.run(['ticket', command, ref, ...option.split(' ')]);
      expect(made).toMatchObject({ code: 0, err: '' });
    }
    expect((await cli.run(['ticket', 'list'])).out).toMatch(new RegExp(`^${ref} .*\\(removed\\)`, 'm'));
  });
});

describe('what people are shown', () => {
  test('is why a mail is in its ticket, and how it is protected', async () => {
    const user = await added('seen', 'seen@example.org');
    const sealed = [
      'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b',
      'In-Reply-To: <root@seen>',
      'From: ada@example.org',
    ];
    const parts = [
      'Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1',
      'Content-Type: application/octet-stream\r\n\r\nx',
    ];
    const [opened] = await polled(
      'seen',
      user,
      mail(['Message-ID: <root@seen>', 'Subject: Printer', 'From: ada@example.org']),
      mail(sealed, `--b\r\n${parts.join('\r\n--b\r\n')}\r\n--b--`),
    );
    const { out } = await cli.run(['ticket', 'show', `${opened?.['ticket']}`]);
    expect(out).toMatch(/@example\.org \(in_reply_to\)$/m);
    expect(out).toMatch(/^encrypted \(PGP\)$/m);
    expect(out).toContain('(encrypted: only its recipients can read it)');
    expect((await cli.run(['ticket', 'list'])).out).toMatch(/ MAILBOX .*\n(.*\n)*.* seen /);
  });
});

describe('the state of a ticket', () => {
  test('is closed, opened again by an answer, and closed and opened by hand', async () => {
    const user = await added('closing', 'closing@example.org');
    const from = 'From: ada@example.org';
    const [opened] = await polled('closing', user, mail([from, 'Message-ID: <root@closing>', 'Subject: Printer']));
    const ref = `${opened?.['ticket']}`;
    expect(await printed('close', ref)).toBe(`closed ${ref}`);
    expect(await printed('close', ref)).toBe(`${ref} is closed already`);
    expect(await shown(ref)).toMatchObject({ status: 'closed', closed_at: expect.stringMatching(/^20/) });
    await polled('closing', user, mail([from, 'In-Reply-To: <root@closing>', 'Auto-Submitted: auto-replied']));
    expect(await shown(ref)).toMatchObject({ status: 'closed', message_count: 2 });
    await polled('closing', user, mail([from, 'In-Reply-To: <root@closing>']));
    expect(await shown(ref)).toMatchObject({ status: 'open', closed_at: null, message_count: 3 });
    await printed('close', ref);
    expect(await printed('reopen', ref)).toBe(`reopened ${ref}`);
    expect((await cli.run(['ticket', 'close', 'NO-1'])).code).toBe(4);
  });

  test('of one that was merged is that of the other, and both are shown', async () => {
    const user = await added('merging', 'merging@example.org');
    const people = ['To: ann@example.org', 'From: bob@example.org'];
    const rows = await polled(
      'merging',
      user,
      mail([...people, 'Message-ID: <c@m>', 'References: <b@m>', 'Subject: Re: first']),
      mail([...people, 'Message-ID: <e@m>', 'References: <d@m>', 'Subject: Re: second']),
      mail(['Message-ID: <d@m>', 'References: <c@m>', 'From: ann@example.org']),
    );
    const refs = rows.map(({ ticket }) => ticket);
    expect(new Set(refs).size).toBe(1);
    const [kept] = refs;
    const list = (await cli.run(['ticket', 'list', '--json'])).json;
    const merged = list.find(({ merged_into: into }) => into === kept);
    expect(merged).toMatchObject({ status: 'merged', message_count: 0 });
    const { code, err } = await cli.run(['ticket', 'close', `${merged?.['ref']}`]);
    expect({ code, err }).toEqual({ code: 3, err: expect.stringContaining(`was merged into ${kept}`) });
    expect((await cli.run(['ticket', 'show', `${merged?.['ref']}`])).out).toContain(`merged into ${kept}`);
    expect((await cli.run(['ticket', 'show', `${kept}`])).out).toContain(`absorbed ${merged?.['ref']}`);
    expect((await cli.run(['reconcile'])).code).toBe(0);
  });

  test('shows what it has to do with others', async () => {
    const user = await added('linking', 'linking@example.org');
    const [opened] = await polled('linking', user, mail(['Message-ID: <root@l>', 'Subject: Printer']));
    const ref = `${opened?.['ticket']}`;
    const rows = await polled(
      'linking',
      user,
      mail(['Subject: WG: Printer', 'References: <root@l>']),
      mail([`Subject: about [#${ref}]`, 'From: eve@example.net']),
    );
    const forward = `${rows[1]?.['ticket']}`;
    expect((await shown(forward))['links']).toEqual([{ ticket: ref, reason: 'forward', direction: 'to' }]);
    const { out } = await cli.run(['ticket', 'show', ref]);
    expect(out).toContain(`has a message that was forwarded into ${forward}`);
    expect(out).toContain(`is mentioned by ${rows[2]?.['ticket']}`);
  });
});

describe('limits', () => {
  test('three messages an hour of a sender are accepted, the others wait in quarantine', async () => {
    const user = await added('flooded', 'flooded@example.org');
    // What is there when the mailbox is added is an import.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const sources = Array.from({ length: 5 }, () => mail(['From: Robot@example.org', 'Subject: again']));
    const rows = await polled('flooded', user, ...sources);
    expect(rows.map(({ outcome, reason }) => reason ?? outcome)).toEqual([
      ...['ticket_opened', 'ticket_opened', 'ticket_opened'],
      ...['sender_flood', 'sender_flood'],
    ]);
    const again = await polled('flooded', user, mail(['From: robot@EXAMPLE.org']), mail(['From: other@example.org']));
    expect(again.slice(5).map(({ outcome, reason }) => reason ?? outcome)).toEqual(['sender_flood', 'ticket_opened']);
  });
});

describe('a mail to two mailboxes', () => {
  test('opens a ticket in each, linked, however they are polled', async () => {
    const users = [await added('left', 'left@example.org'), await added('right', 'right@example.org')];
    const sources = Array.from({ length: 5 }, (_, index) =>
      mail([`Message-ID: <both${index}@x>`, 'To: left@example.org', 'Cc: right@example.org', 'Subject: both']),
    );
    for (const user of users) await dovecot.append(user, 'INBOX', sources);
    await using app = await cli.open();
    const mailboxes: Mailbox[] = [await app.store.mailboxByName('left'), await app.store.mailboxByName('right')];
    await Promise.all(mailboxes.map((mailbox) => app.pollOnce(mailbox, new AbortController().signal)));
    const tickets = (await cli.run(['ticket', 'list', '--json'])).json.filter(({ subject }) => subject === 'both');
    expect(tickets).toHaveLength(10);
    for (const { links } of tickets) expect(links).toEqual([expect.objectContaining({ reason: 'same_message' })]);
  });
});
