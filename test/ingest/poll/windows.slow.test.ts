/** A folder of more than one listing: a poll runs rounds until it has them all. */
import { expect, test } from 'vitest';
import { startScriptedMailbox } from '../../cases/scripted-mailbox.ts';
import { testApp } from '../../support/app.ts';
import { outcomesOf } from '../../support/outcomes.ts';

const mail = (id: number) =>
  Buffer.from(`From: ada@x.test\r\nMessage-ID: <${id}@x>\r\nSubject: ${id}\r\n\r\nHello\r\n`);
/** Two windows; the server has fewer messages than it says, and the first window ends early. */
const exists = 260_000;
const firstEnd = 3;

test('one poll reads both windows', async () => {
  await using server = await startScriptedMailbox({
    sources: [1, 2, 3, 4, 5].map(mail),
    script: (command, rest, tag, { say }) => {
      if (command === 'SELECT') say(`* ${exists} EXISTS`, '* OK [UIDVALIDITY 7] x', `* OK [UIDNEXT ${exists + 1}] x`);
      else if (command === 'FETCH') say(`* 250000 FETCH (UID ${firstEnd})`);
      else if (command === 'UID SEARCH') {
        const [, from = 1, to = exists] = (/UID (\d+):(\d*)/.exec(rest) ?? []).map((part) => Number(part) || exists);
        say(`* SEARCH ${[1, 2, 3, 4, 5].filter((uid) => uid >= from && uid <= to).join(' ')}`);
      } else return false;
      say(`${tag} OK`);
      return true;
    },
  });
  await using on = await testApp(null);
  const connection = { host: '127.0.0.1', port: server.port, tls: 'none', folder: 'INBOX', user: 'ada' } as const;
  const mailbox = await on.addMailbox({ host: 'localhost', tlsPort: server.port, caPem: '' }, 'ada', {
    connection: { ...connection, caPem: null, fingerprint: null, allowPlaintext: true },
    postAction: { kind: 'leave' },
  });
  await on.pollOnce(mailbox, new AbortController().signal);
  expect(await outcomesOf(on, mailbox)).toEqual([1, 2, 3, 4, 5].map((uid) => `${uid} ticket_opened`));
  expect(server.lines.filter((line) => / SEARCH /.test(line)).map((line) => line.replace(/^\S+ /, ''))).toEqual([
    'UID SEARCH UID 1:3',
    'UID SEARCH UID 4:*',
  ]);
});
