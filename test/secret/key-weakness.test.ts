import { createHash, randomFillSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { keyWeakness } from '../../src/secret/key-weakness.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const counted = (step: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, at) => (7 + at * step) % 256);

describe('a key is refused as', () => {
  test.each([
    ['text', bytes('abcdefghijklmnopqrstuvwxyzabcdef')],
    ['text', bytes('correct horse, battery staple!!\n')],
    ['text', bytes('0123456789abcdef0123456789ABCDEF')],
    ['text', bytes('q6bWkO2n+Yv/8fGZJ0yq1mZr3cS5tH4=')],
    ['text', Buffer.from('schl\u00fcssel f\u00fcr den helpdesk!!!!')],
    ['text', Buffer.from('\u043f\u0430\u0440\u043e\u043b\u044c \u0434\u043b\u044f \u043f\u043e\u0447\u0442\u044b!!')],
    ['different bytes', new Uint8Array(32)],
    ['different bytes', Uint8Array.from({ length: 32 }, (_, at) => [9, 200, 77, 3, 250, 128][(at * at) % 6] ?? 0)],
    [
      'one byte in too many places',
      Uint8Array.from({ length: 32 }, (_, at) => (at < 19 ? (at * 89 + at * at * 31 + 3) % 256 : 0)),
    ],
    ['pattern', counted(1)],
    ['pattern', counted(-3 + 256)],
    ['pattern', Buffer.concat([createHash('md5').update('x').digest(), createHash('md5').update('x').digest()])],
  ])('%s: %#', (reason, key) => {
    expect(keyWeakness(key)).toContain(reason);
  });
});

test('a random key is never refused: 20,000 of them', () => {
  const key = new Uint8Array(32);
  for (let made = 0; made < 20_000; made += 1) {
    const weakness = keyWeakness(randomFillSync(key));
    if (weakness !== null) throw new Error(`${Buffer.from(key).toString('hex')} ${weakness}`);
  }
});
