/** Reply tokens and the other thread keys of a message. */
import { describe, expect, test } from 'vitest';
import type { ParsedMessage } from '../../../src/mail/message.ts';
import { threadKeysOf } from '../../../src/mail/thread/keys.ts';
import {
  isValidToken,
  replyAddress,
  replyMessageId,
  tokenInMessageId,
  tokensInAddresses,
} from '../../../src/mail/thread/reply-token.ts';
import { storedMessage } from '../../ingest/decide/messages.ts';

const key = Uint8Array.from({ length: 32 }, (_, index) => index);
const ref = '261124-7KQ3MX';

describe('a reply token', () => {
  test('is the reference and 16 letters, and cannot be forged without the key', () => {
    const address = replyAddress(key, ref, 'support@example.test') ?? '';
    expect(address).toBe('support+261124-7kq3mx-w0akqv3m0ja5epwh@example.test');
    const [token] = tokensInAddresses([address]);
    expect(token).toEqual({ ref, mac: 'w0akqv3m0ja5epwh' });
    expect(token && isValidToken(key, token)).toBe(true);
    expect(token && isValidToken(key.toReversed(), token)).toBe(false);
    expect(token && isValidToken(key, { ...token, ref: '261124-7KQ3MY' })).toBe(false);
    expect(isValidToken(key, { ref, mac: '' })).toBe(false);
  });

  test('replaces a subaddress, and needs 31 characters before the @', () => {
    expect(replyAddress(key, ref, 'a+b@x')).toMatch(/^a\+261124-7kq3mx-[0-9a-z]{16}@x$/);
    expect(replyAddress(key, ref, `${'a'.repeat(33)}@x`)).toMatch(/^.{64}@x$/);
    for (const address of [`${'a'.repeat(34)}@x`, 'nobody', '@x', '+a@x'])
      expect(replyAddress(key, ref, address)).toBeNull();
  });

  test('in a Message-ID is found in upper and lower case', () => {
    const id = replyMessageId(key, ref, Uint8Array.of(1, 255), 'Example.test');
    expect(id).toBe('tm.261124-7kq3mx.w0akqv3m0ja5epwh.01ff@Example.test');
    for (const written of [id, id.toUpperCase()]) {
      const token = tokenInMessageId(written);
      expect(token && isValidToken(key, token)).toBe(true);
    }
  });

  test.each(['a@x', 'tm.1@x', `x${replyMessageId(key, ref, key, 'x')}`, 'tm.261124-7kq3mx.short.01@x'])(
    'is not in %s',
    (id) => {
      expect(tokenInMessageId(id)).toBeNull();
    },
  );

  test('of thousands of recipients the first twenty count', () => {
    const texts = Array.from({ length: 3000 }, () => replyAddress(key, ref, 'support@x') ?? '');
    expect(tokensInAddresses(texts)).toHaveLength(20);
  });
});

function threadKeysFrom(given: Partial<ParsedMessage>) {
  const arrival = storedMessage(1, given);
  if (arrival.what !== 'parsed') throw new Error('no message');
  return threadKeysOf(arrival.parsed);
}

describe('the thread keys of a message', () => {
  test('referenced Message-IDs are listed once, the most significant first', () => {
    const { referencedIds } = threadKeysFrom({
      reportedMessageId: 'r@x',
      inReplyTo: ['b@x', 'r@x'],
      references: ['a@x', 'b@x', 'c@x'],
    });
    expect(referencedIds).toEqual([
      { id: 'r@x', rule: 'reported', isParent: true },
      { id: 'b@x', rule: 'in_reply_to', isParent: true },
      { id: 'c@x', rule: 'references', isParent: true },
      { id: 'a@x', rule: 'references', isParent: false },
    ]);
  });

  test.each([
    ['[#261124-7kq3mx]', [ref]],
    ['Re: [#261124-7KQ3MX] printer [#261124-AAAAAA] [#261124-7KQ3MX]', [ref, '261124-AAAAAA']],
    ['[261124-7KQ3MX] #261124-7KQ3MX (#261124-7KQ3MX)', []],
    ['[#261124-7KQ3MU] [#261124-7KQ3M] [#26112-7KQ3MXX]', []],
  ])('the tags of the subject %s are %j', (subject, tags) => {
    expect(threadKeysFrom({ subject }).subjectTags).toEqual(tags);
  });

  test('a mention needs no brackets, and is found at the beginning of the text', () => {
    expect(threadKeysFrom({ subject: 'Ticket 261124-7kq3mx, please' }).mentions).toEqual([ref]);
    expect(threadKeysFrom({ text: `${'x '.repeat(500)}#${ref}` }).mentions).toEqual([ref]);
    expect(threadKeysFrom({ text: `${'x '.repeat(1500)}${ref}` }).mentions).toEqual([]);
    expect(threadKeysFrom({ text: `1${ref} ${ref}A ${ref}-1` }).mentions).toEqual([]);
  });

  test('a megabyte of the worst text is read within the limit', () => {
    const worst = ['[#', '[#261124-', '261124-7KQ3M', '1', '-1'].map((part) => part.repeat(1_000_000 / part.length));
    const startedAtMs = performance.now();
    for (const text of worst) threadKeysFrom({ subject: text, text, to: [{ name: '', address: text }] });
    expect(performance.now() - startedAtMs).toBeLessThan(1000);
  });

  test.each([
    ['WG: x', '', true],
    ['Re: x', '', false],
    ['x', '', false],
    ['AW: WG: x', '', false],
  ])('%s is a forward: %s%s', (subject, text, isForward) => {
    expect(threadKeysFrom({ subject, text }).isForward).toBe(isForward);
  });
});
