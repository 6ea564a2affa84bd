/** UID listing of a large folder on a real server: dense, and with UIDs far apart. */
import { expect, test } from 'vitest';
import { listingsAbove } from '../../../../src/ingest/fetch/listing.ts';
import type { Session } from '../../../../src/ingest/ports.ts';
import { startDovecot } from '../../../support/servers/dovecot.ts';
import { connectionTo, mail, openSession } from '../setting.ts';

const factor = 9000;
const windowSize = 250_000;

async function allUids(session: Session): Promise<number[]> {
  const uids: number[] = [];
  for await (const page of listingsAbove(session, 0)) {
    expect(page.length).toBeLessThanOrEqual(windowSize);
    for (const uid of page) uids.push(uid);
  }
  return uids;
}

async function isListed(count: number): Promise<void> {
  await using dovecot = await startDovecot();
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    Array.from({ length: count }, () => mail('a')),
  );
  const numbers = Array.from({ length: count }, (_, at) => at + 1);
  {
    await using session = await openSession(connectionTo(dovecot, user));
    expect(await allUids(session)).toEqual(numbers);
  }
  await dovecot.spreadUids(user, 'INBOX', factor);
  await using session = await openSession(connectionTo(dovecot, user));
  expect(await allUids(session)).toEqual(numbers.map((number) => number * factor));
  expect(session.folder.uidNext).toBe(count * factor + 1);
  expect(await session.listAbove((count - 2) * factor)).toEqual([(count - 1) * factor, count * factor]);
  expect(session.hasMore).toBe(false);
}

test('a few hundred messages', () => isListed(300));

test('more than one window', { tags: ['long'], timeout: 300_000 }, () => isListed(windowSize + 10_000));
