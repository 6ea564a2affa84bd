/**
 * Names of admins, what attempts are counted under, and whose turn it is to compute a hash.
 */
import { describe, expect, test } from 'vitest';
import { readAdminName } from '../../../src/admin/sign-in/accounts.ts';
import { addressBucket, addressGroup, nameBucket } from '../../../src/admin/sign-in/limits.ts';
import { createFairSemaphore } from '../../../src/async/semaphore.ts';

describe('the name of an admin', () => {
  test.each([
    'a',
    'x-1',
    'Ada',
    'ada.l@desk.example',
    "O'Neil 2",
    'Jürgen Groß',
    '石川',
    'x'.repeat(64),
    '🙂'.repeat(64),
  ])('may be %s', (name) => expect(readAdminName(name)).toBe(name));

  test('is stored composed, as a browser sends it', () => {
    expect(readAdminName('Ju\u0308rgen')).toBe('J\u00fcrgen');
  });

  test.each([
    ['nothing', ''],
    ['a space', ' '],
    ['a space before it', ' Ada'],
    ['a space behind it', 'Ada '],
    ['too many characters', 'x'.repeat(65)],
    ['a NUL', 'A\0da'],
    ['a line feed', 'Ada\n'],
    ['an escape sequence', '\x1b[31mAda'],
    ['a direction', 'Ada\u202e'],
    ['a space without a width', 'A\u200bda'],
    ['a space that is not U+0020', 'Ada\u00a0L'],
    ['half a character', 'Ada\ud800'],
    ['the word for strangers', 'Somebody'],
    ['what a command takes for an option', '-x'],
    ['the mark of an option', '-'],
  ])('is not %s', (_title, name) => {
    expect(() => readAdminName(name)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('attempts are counted', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:0DB8:0000:0000:ffff::', '2001:db8:0:0::/64'],
    ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1::/64'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:FFFF:192.0.2.1', '192.0.2.1'],
    ['127.0.0.1', 'loopback'],
    ['127.200.3.4', 'loopback'],
    ['::ffff:127.9.9.9', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['::1', 'loopback'],
    ['0:0:0:0:0:0:0:1', 'loopback'],
    ['128.0.0.1', '128.0.0.1'],
    ['::2', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['1:2:3::', '1:2:3:0::/64'],
    ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
    ['unknown', 'unknown'],
  ])('from %s under %s', (address, group) => expect(addressGroup(address)).toBe(group));

  test('under a name in any case and form, which cannot be had from the bucket', () => {
    const key = new Uint8Array(32).fill(7);
    const of = (name: string) => nameBucket(key, name, 5);
    expect(of('J\u00fcrgen')).toBe(of('JU\u0308RGEN'));
    expect(of('Ada')).not.toBe(of('Ada '));
    expect(of('192.0.2.1')).not.toBe(addressBucket('192.0.2.1'));
    expect(of('\ud800'.repeat(10))).toMatch(/^[0-9a-f]{64}$/);
    // Whoever reads the database and guesses the name learns nothing, and a new password begins anew.
    expect(of('Ada')).not.toBe(nameBucket(new Uint8Array(32), 'Ada', 5));
    expect(of('Ada')).not.toBe(nameBucket(key, 'Ada', 6));
  });
});

describe('turns', () => {
  /** What began, in its order; each ends when the test says so. */
  function queue(waitingMax: number) {
    const turns = createFairSemaphore({ runningMax: 2, waitingMax });
    const begun: string[] = [];
    const ends = new Map<string, (works: boolean) => void>();
    return {
      turns,
      begun,
      /** `title`: the group, and which one of it. */
      take: (title: string) =>
        turns.run(title.slice(0, 1), async () => {
          begun.push(title);
          const { promise, resolve } = Promise.withResolvers<boolean>();
          ends.set(title, resolve);
          if (!(await promise)) throw new Error(`${title} fails`);
          return title;
        }),
      async end(title: string, works = true) {
        await new Promise(setImmediate);
        ends.get(title)?.(works);
        await new Promise(setImmediate);
      },
    };
  }

  test('two run, some wait in their order, the rest is sent away, and one that fails gives its place on', async () => {
    const { take, begun, end, turns } = queue(3);
    const taken = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6'].map(take);
    expect(await Promise.all([taken[5], taken[6]])).toEqual([null, null]);
    expect(begun).toEqual(['a0', 'a1']);
    const failing = expect(taken[0]).rejects.toThrow('a0 fails');
    await end('a0', false);
    await failing;
    expect(begun).toEqual(['a0', 'a1', 'a2']);
    for (const [at, title] of ['a1', 'a2', 'a3', 'a4'].entries()) {
      await end(title);
      expect(await taken[at + 1]).toBe(title);
    }
    expect(begun).toEqual(['a0', 'a1', 'a2', 'a3', 'a4']);
    expect(await turns.run('a', async () => 'free again')).toBe('free again');
    expect(await turns.run('b', async () => 'and again')).toBe('and again');
  });

  test('groups take turns, however many one comes with', async () => {
    const { take, begun, end } = queue(32);
    const taken = ['a0', 'a1', 'a2', 'a3', 'a4', 'b0', 'b1', 'c0'].map(take);
    for (const title of ['a0', 'a1', 'a2', 'b0', 'c0', 'a3', 'b1', 'a4']) {
      await end(title);
    }
    expect(await Promise.all(taken)).not.toContain(null);
    expect(begun).toEqual(['a0', 'a1', 'a2', 'b0', 'c0', 'a3', 'b1', 'a4']);
  });

  test('a group that fills all places loses its last ones to others, until nobody has more than they', async () => {
    const { take, begun, end } = queue(4);
    const flood = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5'].map(take);
    const others = ['b0', 'c0', 'c1', 'd0', 'e0'].map(take);
    expect(await Promise.all([...flood.slice(3), others[2], others[4]])).toEqual([null, null, null, null, null]);
    for (const title of ['a0', 'a1', 'a2', 'b0', 'c0', 'd0']) await end(title);
    expect(begun).toEqual(['a0', 'a1', 'a2', 'b0', 'c0', 'd0']);
    expect(await Promise.all([...flood.slice(0, 3), others[0], others[1], others[3]])).toEqual(begun);
    // Nothing was lost of the places.
    const again = ['x0', 'x1', 'x2', 'x3', 'x4', 'x5', 'x6'].map(take);
    expect(await again[6]).toBe(null);
    for (const title of ['x0', 'x1', 'x2', 'x3', 'x4', 'x5']) await end(title);
    expect(await Promise.all(again.slice(0, 6))).not.toContain(null);
  });
});
