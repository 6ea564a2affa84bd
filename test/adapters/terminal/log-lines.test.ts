import { expect, test } from 'vitest';
import { prettyLine } from '../../../src/adapters/terminal/log-lines.ts';

test('ids that connect lines are cut to the digits that tell them apart; other fields are whole', () => {
  const line = {
    ...{ level: 'info', time: '2026-11-24T10:00:01.132Z', event: 'message.ticket_opened', mailbox: 'support' },
    ...{ poll: '01a20d92-5701-7c1a-9c55-0d4be1f0a2c7', message: '01a20d92-573e-7e7d-b241-ff491d1895b2' },
    ...{ uid: 7, reason: '01a20d92-573e-7e7d-b241-ff491d1895b2', worker: 'a' },
  };
  const text = prettyLine(JSON.stringify(line), false);
  expect(text).toMatch(
    /message\.ticket_opened {2}support {2}reason=01a20d92-573e-7e7d-b241-ff491d1895b2 uid=7 worker=a poll=e1f0a2c7 message=1d1895b2$/,
  );
});

test('in colours, what only connects lines is dim, and no other field', () => {
  const line = { level: 'info', time: '2026-11-24T10:00:01.132Z', event: 'message.ticket_opened', uid: 7, worker: 'a' };
  const text = prettyLine(JSON.stringify(line), true);
  expect(text).toContain(' uid=7 ');
  expect(text).toContain('\u001b[2mworker=a\u001b[22m');
});
