/**
 * Refusals (NO, BAD) as an operator reads them: the response code (RFC 5530), and what to do about it.
 */
import { expect, test } from 'vitest';
import type { Failure } from '../../../../src/errors.ts';
import { failureOf } from '../../../support/promises.ts';
import { readDialogue } from '../../../support/servers/dialogues/dialogue.ts';
import { startScriptedServer } from '../scripted-server.ts';
import { credential, plainTo, sessions } from '../setting.ts';

async function probeFailure(port: number, folder = 'INBOX'): Promise<Failure> {
  return await failureOf(sessions.probe(plainTo(port, { folder }), credential(), () => undefined));
}

test('a missing folder has the same sentence, hint and list of folders with NONEXISTENT as without', async () => {
  await using server = await startScriptedServer(await readDialogue('folder-nonexistent'));
  const withCode = await probeFailure(server.port, 'Tickets');
  const without = await probeFailure(server.port, 'Tickets');
  expect(withCode.fields).toEqual({ status: 'NO', response_code: 'NONEXISTENT', folders: 'INBOX' });
  expect(without.fields).toEqual({ status: 'NO', folders: 'INBOX' });
  for (const { code, message, hint } of [withCode, without])
    expect({ code, message, hint }).toEqual({
      code: 'folder_missing',
      message: 'The folder does not exist.',
      hint: 'The folders of the server are listed by: ticketmaild mailbox test NAME',
    });
});
