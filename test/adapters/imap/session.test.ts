/**
 * Reading a folder: lists, dates, sizes, sources and headers, from real and from odd servers.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { release } from '../../../src/async/buffer-pool.ts';
import { failureOf } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type Script, startScriptedServer } from './scripted-server.ts';
import { connectionTo, fetchAll, mail, openSession, plainTo } from './setting.ts';

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot[Symbol.asyncDispose]());

function numbers(count: number, from = 1): number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

test('the folder reports UIDVALIDITY, UIDNEXT and the number of messages', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a'), mail('b'), mail('c')]);
  await dovecot.expunge(user, 'INBOX', [2]);
  await using session = await openSession(connectionTo(dovecot, user));
  expect(session.folder).toEqual({ uidValidity: expect.any(Number), uidNext: 4, messageCount: 2 });
});

test('the list holds the UIDs above the given one alone, also when there are none', async () => {
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    numbers(5).map(() => mail('a')),
  );
  await dovecot.expunge(user, 'INBOX', [3]);
  await using session = await openSession(connectionTo(dovecot, user));
  expect(await session.listAbove(0)).toEqual([1, 2, 4, 5]);
  expect(await session.listAbove(2)).toEqual([4, 5]);
  expect(await session.listAbove(5)).toEqual([]);
  expect(await session.listAbove(4_000_000_000)).toEqual([]);
});

test('5,000 messages are listed with their sizes', async () => {
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    numbers(5000).map(() => mail('a')),
  );
  await using session = await openSession(connectionTo(dovecot, user));
  const uids = await session.listAbove(10);
  expect(uids).toEqual(numbers(4990, 11));
  const sizes = await session.sizes(uids);
  expect(sizes.map(({ uid }) => uid)).toEqual(uids);
  expect(new Set(sizes.map(({ sizeBytes }) => sizeBytes))).toEqual(new Set([mail('a').length]));
});

test('listing 200,000 UIDs takes only the memory of their line', async () => {
  const all = numbers(200_000, 1_000_000);
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'UID SEARCH') say(`* SEARCH ${all.join(' ')}`, `${tag} OK`);
    return command === 'UID SEARCH';
  };
  await using server = await startScriptedServer({ exists: 200_000, uidNext: 1_200_000, script });
  await using session = await openSession(plainTo(server.port));
  expect(await session.listAbove(999_999)).toEqual(all);
  expect((await session.listAbove(1_100_000)).length).toBe(99_999);
});

test('sizes and arrival times are listed, without removed UIDs', async () => {
  const user = dovecot.newUser();
  const receivedAt = new Date('2024-02-29T23:59:58Z');
  await dovecot.append(user, 'INBOX', [mail('a', 5000)], { receivedAt });
  await using session = await openSession(connectionTo(dovecot, user));
  const sizeBytes = mail('a', 5000).length;
  expect(await session.sizes([1, 7])).toEqual([{ uid: 1, sizeBytes, receivedAtMs: receivedAt.getTime() }]);
  expect(await session.sizes([])).toEqual([]);
});

test('sources arrive in order, byte by byte, each in a buffer that can be released at once', async () => {
  const user = dovecot.newUser();
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, at) => 1 + ((at * 7) % 255)));
  const binary = Buffer.concat([
    mail('binary'),
    Buffer.from(bytes.toString('latin1').replaceAll(/[\r\n]/g, '-'), 'latin1'),
  ]);
  const messages = [mail('a'), binary, mail('b', 40_000), mail('c', 1_400_000)];
  await dovecot.append(user, 'INBOX', messages);
  await using session = await openSession(connectionTo(dovecot, user));
  const found: Buffer[] = [];
  for await (const { source } of session.fetch([4, 1, 2, 3, 99])) {
    if (source === null) throw new Error('no source');
    found.push(Buffer.from(source));
    release(source);
  }
  expect(found.map((one, index) => one.equals(messages[index] ?? Buffer.alloc(0)))).toEqual([true, true, true, true]);
});

test('nothing that reads sets the read flag', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a'), mail('b')]);
  await using session = await openSession(connectionTo(dovecot, user));
  await fetchAll(session, [1, 2]);
  await session.fetchHeader(1, 100);
  await session.sizes([1, 2]);
  expect(await dovecot.listFlags(user, 'INBOX')).toEqual(
    new Map([
      [1, new Set()],
      [2, new Set()],
    ]),
  );
});

test('a header is fetched alone and truncated to its limit; a removed message has none', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('subject', 100_000)]);
  await using session = await openSession(connectionTo(dovecot, user));
  const text = async (bytesMax: number): Promise<string> =>
    Buffer.from((await session.fetchHeader(1, bytesMax)) ?? []).toString();
  expect(await text(1000)).toBe('From: ada@example.test\r\nSubject: subject\r\n\r\n');
  expect(await text(10)).toBe('From: ada@');
  expect(await session.fetchHeader(2, 10)).toBeNull();
});

test('messages are identified by their Message-ID beside size and time', async () => {
  const user = dovecot.newUser();
  const receivedAt = new Date('2025-01-01T10:00:00Z');
  const texts = ['Message-ID: <a@x>\r\n', 'Subject: none\r\n', 'Message-Id:\r\n <b@x>\r\n', 'Message-ID: <\xe4@x>\r\n'];
  const sources = [...texts, `Message-ID: <${'x'.repeat(200_000)}@x>\r\n`].map((text) =>
    Buffer.from(`${text}\r\nbody\r\n`, 'latin1'),
  );
  await dovecot.append(user, 'INBOX', sources, { receivedAt });
  await using session = await openSession(connectionTo(dovecot, user));
  const found = await session.identify([1, 2, 3, 4, 5, 6]);
  expect(found.map(({ messageId }) => messageId)).toEqual(['a@x', null, 'b@x', null, null]);
  expect(found[0]).toEqual({ ...(await session.sizes([1]))[0], messageId: 'a@x' });
});

describe('the first message since a time', () => {
  test('is found by its exact time of arrival', async () => {
    const user = dovecot.newUser();
    const at = (text: string): Date => new Date(text);
    await dovecot.append(user, 'INBOX', [mail('a')], { receivedAt: at('2025-01-01T10:00:00Z') });
    await dovecot.append(user, 'INBOX', [mail('b')], { receivedAt: at('2025-01-01T23:59:59Z') });
    await dovecot.append(user, 'INBOX', [mail('c')], { receivedAt: at('2025-01-02T00:00:01Z') });
    await using session = await openSession(connectionTo(dovecot, user));
    expect(await session.uidBefore(at('2020-01-01T00:00:00Z').getTime())).toBe(0);
    expect(await session.uidBefore(at('2025-01-01T10:00:00Z').getTime())).toBe(0);
    expect(await session.uidBefore(at('2025-01-01T10:00:01Z').getTime())).toBe(1);
    expect(await session.uidBefore(at('2025-01-02T00:00:00Z').getTime())).toBe(2);
    expect(await session.uidBefore(at('2025-01-02T00:00:02Z').getTime())).toBe(3);
  });

  test('is searched a day earlier, because the server counts days in its own time zone', async () => {
    const asked: string[] = [];
    const script: Script = (command, rest, tag, { say }) => {
      if (command === 'UID SEARCH') {
        asked.push(rest);
        say('* SEARCH 2 3', `${tag} OK`);
      }
      if (command === 'UID FETCH') {
        // 20:30 in New York is 00:30 of the next day in UTC.
        say('* 2 FETCH (UID 2 RFC822.SIZE 9 INTERNALDATE "30-Jun-2025 20:30:00 -0400")');
        say('* 3 FETCH (UID 3 RFC822.SIZE 9 INTERNALDATE "30-Jun-2025 21:30:00 -0400")', `${tag} OK`);
      }
      return command.startsWith('UID');
    };
    await using server = await startScriptedServer({ script });
    await using session = await openSession(plainTo(server.port));
    expect(await session.uidBefore(Date.parse('2025-07-01T01:00:00Z'))).toBe(2);
    expect(asked).toEqual(['SINCE 30-Jun-2025']);
  });
});

test('unsolicited data during a fetch is no response', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'UID FETCH') {
      say('* 9 FETCH (UID 9 FLAGS (\\Seen))', '* 1 FETCH (FLAGS (\\Seen))', '* 1 FETCH (UID 1 FLAGS (\\Seen))');
      say('* 1 FETCH (UID 1 BODY[] {3}', 'one)', '* 4 EXISTS', '* 2 FETCH (UID 2 BODY[] NIL)');
      say('* 8 FETCH (UID 8 BODY[] {5}', 'eight)', '* 1 FETCH (UID 1 BODY[] {5}', 'twice)');
      say('* 3 FETCH (FLAGS () BODY[] "three" UID 3)', '* 4 FETCH (UID 4 BODY[] {0}', ')', `${tag} OK`);
    }
    return command === 'UID FETCH';
  };
  await using server = await startScriptedServer({ script });
  await using session = await openSession(plainTo(server.port));
  expect(await fetchAll(session, [1, 2, 3, 4, 5])).toEqual([
    [1, 'one'],
    [3, 'three'],
    [2, null],
    [4, null],
  ]);
});

test('a message without a reported size is listed, and a reported size wins', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'UID FETCH') {
      say(
        '* 2 FETCH (UID 2 FLAGS ())',
        '* 3 FETCH (UID 3 FLAGS ())',
        '* 7 FETCH (UID 7 RFC822.SIZE 5)',
        '* 8 FETCH (UID 8 FLAGS ())',
        '* 1 FETCH (UID 1 RFC822.SIZE 12 INTERNALDATE NIL)',
        '* 1 FETCH (UID 1 FLAGS ())',
        '* 3 FETCH (UID 3 RFC822.SIZE 34 INTERNALDATE NIL)',
      );
      say(`${tag} OK`);
    }
    return command === 'UID FETCH';
  };
  await using server = await startScriptedServer({ script });
  await using session = await openSession(plainTo(server.port));
  expect(await session.sizes([1, 2, 3, 4])).toEqual([
    { uid: 1, sizeBytes: 12, receivedAtMs: null },
    { uid: 2, sizeBytes: 0, receivedAtMs: null },
    { uid: 3, sizeBytes: 34, receivedAtMs: null },
  ]);
});

test('many scattered UIDs are sent in lines that every server accepts', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a'), mail('b'), mail('c')]);
  await using session = await openSession(connectionTo(dovecot, user));
  const scattered = [1, ...numbers(5000).map((one) => 3 + 2 * one), 3];
  expect((await fetchAll(session, scattered)).map(([uid]) => uid)).toEqual([1, 3]);
  await session.apply({ kind: 'seen' }, scattered);
  expect([...(await dovecot.listFlags(user, 'INBOX')).values()].map((flags) => flags.size)).toEqual([1, 0, 1]);
});

test('an abandoned fetch leaves the session usable', async () => {
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    numbers(20).map(() => mail('a', 100_000)),
  );
  await using session = await openSession(connectionTo(dovecot, user));
  for await (const { uid } of session.fetch(numbers(20))) if (uid === 2) break;
  expect(await session.listAbove(18)).toEqual([19, 20]);
});

test('a call within the loop of a fetch is refused instead of a deadlock', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a')]);
  await using session = await openSession(connectionTo(dovecot, user));
  for await (const { uid } of session.fetch([1])) {
    expect((await failureOf(session.apply({ kind: 'seen' }, [uid]))).code).toBe('unexpected');
    expect((await failureOf(session.listAbove(0))).code).toBe('unexpected');
  }
  expect(await session.listAbove(0)).toEqual([1]);
});

test.each(['Büro', 'Заявки/Новые', '日本 & more', 'INBOX', 'inbox'])('the folder %s is opened', async (folder) => {
  const user = dovecot.newUser();
  await dovecot.append(user, folder, [mail('a')]);
  await using session = await openSession(connectionTo(dovecot, user, { folder }));
  expect(await fetchAll(session, [1])).toEqual([[1, mail('a').toString()]]);
});

test('a server that takes names in UTF-8 gets them so', async () => {
  await using server = await startScriptedServer({
    capabilities: 'IMAP4rev1 AUTH=PLAIN ENABLE UTF8=ACCEPT',
    script: utf8,
  });
  await using session = await openSession(plainTo(server.port, { folder: 'Büro' }));
  expect(session.folder.messageCount).toBe(3);
  const select = server.lines.find((line) => line.includes('SELECT')) ?? '';
  expect(Buffer.from(select, 'latin1').toString()).toMatch(/ SELECT "Büro"$/);
});

const utf8: Script = (command, _rest, tag, { say }) => {
  if (command === 'ENABLE') say('* ENABLED UTF8=ACCEPT', `${tag} OK`);
  return command === 'ENABLE';
};

test.each(['no/such', 'kein Ordner ü'])('the folder %s that is not there is folder_missing', async (folder) => {
  expect((await failureOf(openSession(connectionTo(dovecot, 'ada', { folder })))).code).toBe('folder_missing');
});

test.each([
  ['NO no such mailbox', 'other', 'folder_missing'],
  ['NO [NONEXISTENT] gone', 'INBOX', 'folder_missing'],
  ['NO [NOPERM] not yours', 'INBOX', 'server_refused'],
  ['NO [UNAVAILABLE] later', 'INBOX', 'server_busy'],
  ['NO [INUSE] later', 'INBOX', 'server_busy'],
])('the answer "%s" to the SELECT of %s is %s', async (answer, folder, code) => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'SELECT') say(`${tag} ${answer}`);
    return command === 'SELECT';
  };
  await using server = await startScriptedServer({ script });
  expect((await failureOf(openSession(plainTo(server.port, { folder })))).code).toBe(code);
});

test('without UIDNEXT the last UID is searched', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'SELECT') say('* 3 EXISTS', '* OK [UIDVALIDITY 7] yes', `${tag} OK`);
    if (command === 'UID SEARCH') say('* SEARCH 4 9 12', `${tag} OK`);
    return command === 'SELECT' || command === 'UID SEARCH';
  };
  await using server = await startScriptedServer({ script });
  await using session = await openSession(plainTo(server.port));
  expect(session.folder).toEqual({ uidValidity: 7, uidNext: 13, messageCount: 3, isUidNextGuessed: true });
});
