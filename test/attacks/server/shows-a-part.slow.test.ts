/**
 * A mail server shows for one poll a part of a folder, without dates or with true ones, or an absurd UID, so that the
 * cursor passes messages that were never read. Once it is honest again, each is read, none twice, and the log says it.
 */
import { expect, test } from 'vitest';
import type { Script } from '../../adapters/imap/scripted-server.ts';
import { startScriptedServer } from '../../adapters/imap/scripted-server.ts';
import { testApp } from '../../support/app.ts';
import { messagesOf, outcomesOf } from '../../support/outcomes.ts';

const never = new AbortController().signal;

type View = {
  readonly uids: readonly number[];
  readonly uidNext: number | null;
  readonly exists?: number;
  readonly date: string | null;
};

const dateOf = (uid: number) => `24-Nov-2026 10:00:${`${uid % 60}`.padStart(2, '0')} +0000`;
const upTo = (last: number) => Array.from({ length: last }, (_, at) => at + 1);

function source(uid: number, isLie: boolean): string {
  const id = isLie ? `lie-${uid}` : `true-${uid}`;
  return `From: ada@example.test\r\nSubject: ${id}\r\nMessage-ID: <${id}@x>\r\n\r\nIt does not print: ${id}.\r\n`;
}

function wanted(rest: string, uids: readonly number[]): readonly number[] {
  const parts = (rest.split(' ', 1)[0] ?? '').split(',').map((part) => part.split(':').map(Number));
  return uids.filter((uid) => parts.some(([from = 0, to = from]) => uid >= from && (uid <= to || Number.isNaN(to))));
}

function fetched(rest: string, { uids, date }: View, isLie: boolean): readonly string[] {
  return wanted(rest, uids).map((uid) => {
    const text = source(uid, isLie);
    const when = date ?? dateOf(uid);
    const place = `RFC822.SIZE ${text.length} INTERNALDATE ${when === 'NIL' ? when : `"${when}"`}`;
    const [id = ''] = /^Message-ID: .*\r\n/mu.exec(text) ?? [];
    const field = `BODY[HEADER.FIELDS (MESSAGE-ID)] {${id.length + 2}}\r\n${id}\r\n`;
    const asked = rest.includes('HEADER') ? `${place} ${field}` : `BODY[] {${text.length}}\r\n${text}`;
    return `* 1 FETCH (UID ${uid} ${rest.includes('BODY') ? asked : place})`;
  });
}

/** `view` is asked at each command. */
function showing(view: () => View, isLie: () => boolean): Script {
  return (command, rest, tag, { say }) => {
    const { uids, uidNext, exists } = view();
    if (command === 'SELECT') {
      say(`* ${exists ?? uids.length} EXISTS`, '* OK [UIDVALIDITY 9] yes');
      if (uidNext !== null) say(`* OK [UIDNEXT ${uidNext}] yes`);
    } else if (command === 'UID SEARCH') say(`* SEARCH ${uids.join(' ')}`);
    else if (command === 'UID FETCH') say(...fetched(rest, view(), isLie()));
    else return false;
    say(`${tag} OK`);
    return true;
  };
}

const honest: View = { uids: upTo(52), uidNext: 53, date: null };

/** One mailbox on a scripted server, polled once by each call of `poll`. */
async function pollingScene(script: Script) {
  await using building = new AsyncDisposableStack();
  const server = building.use(await startScriptedServer({ script }));
  const on = building.use(await testApp(null));
  const connection = { host: '127.0.0.1', port: server.port, tls: 'none', folder: 'INBOX', user: 'ada' } as const;
  const mailbox = await on.addMailbox({ host: 'localhost', tlsPort: server.port, caPem: '' }, 'ada', {
    connection: { ...connection, caPem: null, fingerprint: null, allowPlaintext: true },
    postAction: { kind: 'leave' },
  });
  const poll = async () => (await on.app.pollOnce(mailbox, never)).failure;
  const kept = building.move();
  return { server, on, mailbox, poll, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

test.each<readonly [string, View, View]>([
  ['one message without a date', { uids: [50], uidNext: 51, date: 'NIL' }, honest],
  ['one message with a date', { uids: [50], uidNext: 51, date: '01-Jan-2020 10:00:00 +0000' }, honest],
  ['one of fifty that it counts', { uids: [50], uidNext: 51, exists: 50, date: 'NIL' }, honest],
  ['an absurd UID', { uids: [4_294_967_294], uidNext: 4_294_967_295, date: 'NIL' }, honest],
  [
    'an absurd UID, and never a UIDNEXT',
    { uids: [4_294_967_290], uidNext: null, date: 'NIL' },
    { ...honest, uidNext: null },
  ],
])('%s', async (_name, lie, later) => {
  let isLying = true;
  const script = showing(
    () => (isLying ? lie : later),
    () => isLying,
  );
  await using scene = await pollingScene(script);
  const { server, on, mailbox, poll } = scene;
  expect(await poll()).toBeNull();
  expect(await outcomesOf(on, mailbox)).toHaveLength(1);
  isLying = false;
  expect(await poll()).toBeNull();
  const subjects = (await messagesOf(on, mailbox))
    .map(({ subject }) => subject)
    .filter((one) => /^true/.test(`${one}`));
  expect(subjects.sort()).toEqual(
    upTo(52)
      .map((uid) => `true-${uid}`)
      .sort(),
  );
  const before = server.lines.length;
  expect(await poll()).toBeNull();
  expect(server.lines.slice(before).filter((line) => /SEARCH|BODY\.PEEK\[\]/.test(line))).toHaveLength(
    later.uidNext === null ? 2 : 1,
  );
  expect((await messagesOf(on, mailbox)).length).toBe(53);
});

test('a part of messages that were read already: what was read is recognized', async () => {
  let view: View = { ...honest, uids: upTo(20), uidNext: 21 };
  const script = showing(
    () => view,
    () => false,
  );
  await using scene = await pollingScene(script);
  const { on, mailbox, poll } = scene;
  expect(await poll()).toBeNull();
  // A replica that is behind: 21 to 30 are missing, 31 is there.
  view = { ...honest, uids: [...upTo(20), 31], uidNext: 32 };
  expect(await poll()).toBeNull();
  view = { ...honest, uids: upTo(31), uidNext: 32 };
  expect(await poll()).toBeNull();
  const outcomes = (await outcomesOf(on, mailbox)).map((line) => line.replace(/^\S+ /, ''));
  expect(outcomes.filter((one) => one === 'ticket_opened')).toHaveLength(31);
  expect(outcomes.filter((one) => one === 'duplicate (seen_before)')).toHaveLength(21);
  expect(new Set((await messagesOf(on, mailbox)).map(({ subject }) => subject))).toHaveProperty('size', 31);
});
