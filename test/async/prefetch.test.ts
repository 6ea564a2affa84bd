/** Prefetch of one value, the gate beside it, and rejections that are observed later. */
import { describe, expect, test } from 'vitest';
import { createGate, prefetch } from '../../src/async/prefetch.ts';

describe('prefetch', () => {
  async function* numbers(until: number, log: string[] = [], failAt = -1): AsyncGenerator<number> {
    try {
      for (let value = 0; value < until; value += 1) {
        if (value === failAt) throw new Error('broken');
        log.push(`made ${value}`);
        yield value;
      }
    } finally {
      log.push('closed');
    }
  }

  test('yields the same values in the same order', async () => {
    expect(await Array.fromAsync(prefetch(numbers(5)))).toEqual([0, 1, 2, 3, 4]);
  });

  test('makes exactly one value ahead', async () => {
    const log: string[] = [];
    for await (const value of prefetch(numbers(3, log))) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      log.push(`used ${value}`);
    }
    expect(log).toEqual(['made 0', 'made 1', 'used 0', 'made 2', 'used 1', 'closed', 'used 2']);
  });

  test('yields the values before an error, then the error', async () => {
    const seen: number[] = [];
    const reading = async () => {
      for await (const value of prefetch(numbers(5, [], 2))) seen.push(value);
    };
    await expect(reading()).rejects.toThrow('broken');
    expect(seen).toEqual([0, 1]);
  });

  test('closes the source when the consumer ends early', async () => {
    const log: string[] = [];
    for await (const value of prefetch(numbers(9, log))) if (value === 1) break;
    expect(log.at(-1)).toBe('closed');
  });
});

describe('prefetch that waits', () => {
  test('requests the next value only after the consumer is done with the current one', async () => {
    const log: string[] = [];
    async function* values() {
      for (const value of [0, 1]) {
        log.push(`made ${value}`);
        yield value;
      }
    }
    for await (const value of prefetch(values(), () => true)) {
      await new Promise(setImmediate);
      log.push(`used ${value}`);
    }
    expect(log).toEqual(['made 0', 'used 0', 'made 1', 'used 1']);
  });
});

describe('a gate', () => {
  test('admits one at a time', async () => {
    const gate = createGate();
    expect(await gate.enter()).toBe(true);
    let hasEntered = false;
    const second = gate.enter().then((isIn) => {
      hasEntered = isIn;
    });
    await new Promise(setImmediate);
    expect(hasEntered).toBe(false);
    gate.leave();
    await second;
    expect(hasEntered).toBe(true);
  });

  test('turns away the waiting one and all others when it is closed', async () => {
    const gate = createGate();
    await gate.enter();
    const waiting = gate.enter();
    gate.close();
    expect(await waiting).toBe(false);
    expect(await gate.enter()).toBe(false);
  });
});
