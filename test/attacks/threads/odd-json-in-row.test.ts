/**
 * A writer of the database puts a JSON of another shape into one stored message, and a sender answers that message: the
 * answer is stored like any other, and the mail behind it too.
 */
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { threadProgram } from '../../mail/thread/thread-program.ts';

const letter = (id: string, more = '') =>
  Buffer.from(
    `From: ada@customer.test\r\nTo: support@desk.test\r\nMessage-ID: <${id}>\r\n${more}Subject: s\r\n\r\n${id}\r\n`,
  );

test.each(['[null]', '5', '"x"', '{', 'null', '[{"name":1,"address":"a@b"}]', '{"0":{}}', ''])(
  'the recipients of a stored message are %o: answers to it are stored',
  async (json) => {
    await using stack = new AsyncDisposableStack();
    const program = await threadProgram(stack);
    const at = Date.now();
    await program.commit('support', [{ uid: 1, source: letter('first@x'), receivedAtMs: at }]);
    {
      using database = new DatabaseSync(program.path);
      for (const column of 'to cc reply_to from headers references recipients replies_to'.split(' '))
        database.prepare(`update message set ${column}_json = ?`).run(json);
    }
    await program.commit('support', [
      { uid: 2, source: letter('second@x', 'In-Reply-To: <first@x>\r\n'), receivedAtMs: at + 1000 },
      { uid: 3, source: letter('third@x'), receivedAtMs: at + 2000 },
    ]);
    expect(program.stored('support').map(({ uid, outcome }) => [uid, outcome])).toEqual([
      [1, 'ticket_opened'],
      [2, 'reply_added'],
      [3, 'ticket_opened'],
    ]);
    const [ref = ''] = program.stored('support').map((one) => one.ref ?? '');
    expect((await program.db.ticketByRef(ref)).messages).toMatchObject([{ to: [], references: [] }, {}]);
  },
);
