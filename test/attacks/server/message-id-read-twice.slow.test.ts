/**
 * A Message-ID that the server reads in another way than the parser, in one mail of an outsider on a real Dovecot: the
 * folder is not taken for one that was restored from a backup, which would fetch all of it again.
 */
import { expect, test } from 'vitest';
import { testApp } from '../../support/app.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';

let dovecot: Dovecot;
const never = new AbortController().signal;

serversOfFile((servers) => {
  ({ dovecot } = servers);
});

function mail(name: string, idField = `Message-ID: <${name}@customer.test>`): Buffer {
  const lines = [`From: ${name}@customer.test`, 'To: support@example.test', `Subject: ${name}`, idField, '', name, ''];
  return Buffer.from(lines.join('\r\n'), 'latin1');
}

const folded = (line: string) =>
  Array.from({ length: 30 }, () => `\r\n ${line}`)
    .join('')
    .slice(0, 1990);
const longId = '<a-long-identifier-of-that-mail@outsider.test>';

test.each([
  ['a form feed before the colon', 'Message-ID\x0c: <first@outsider.test>\r\nMessage-ID: <second@outsider.test>'],
  ['a blank before the colon', 'Message-ID : <first@outsider.test>\r\nMessage-ID: <second@outsider.test>'],
  ['2,000 blanks before it', `Message-ID:${folded(' '.repeat(70))}${longId}`],
  ['2,000 letters before it', `Message-ID:${folded('x'.repeat(70))}${longId}`],
])('with %s', async (_, idField) => {
  await using on = await testApp(null);
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    Array.from({ length: 20 }, (_each, n) => mail(`early-${n}`)),
  );
  const mailbox = await on.addMailbox(dovecot, user);
  await on.pollOnce(mailbox, never);
  await dovecot.append(user, 'INBOX', [mail('outsider', idField)]);
  await on.pollOnce(mailbox, never);
  for (const name of ['late-1', 'late-2']) {
    await dovecot.append(user, 'INBOX', [mail(name)]);
    const { outcomes } = await on.pollOnce(mailbox, never);
    expect(outcomes).toMatchObject({ ticket_opened: 1, duplicate: 0 });
  }
  expect(on.lines.filter(({ event }) => event === 'folder.restored_from_backup')).toEqual([]);
});
