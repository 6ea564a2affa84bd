import { describe, expect, test } from 'vitest';
import { Failure, type FailureCode } from '../../../src/errors.ts';
import { createNarrowings, type Narrowing } from '../../../src/ingest/fetch/poison-message.ts';

const broken = (code: FailureCode = 'connection_lost') => new Failure(code, 'broken');
const mails = (uids: readonly number[]) => uids.map((uid) => ({ uid, sizeBytes: 10 * uid, receivedAtMs: null }));
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

/** A mailbox with mails 1 to 9 that were handled up to `uid`. */
function mailbox(uid = 0) {
  const narrowings = createNarrowings();
  const cursor = { uidValidity: 7, uid };
  const present = range(1, 9);
  const round = () => narrowings.of('box', cursor);
  return {
    ...{ narrowings, cursor, round },
    /** A visit that asks for these at once, and fails. */
    fails: (uids: readonly number[], code?: FailureCode, before?: (narrowing: Narrowing) => void) => {
      const narrowing = round();
      narrowing.newOf(present.filter((one) => one > narrowing.listFrom));
      narrowing.asks(mails(uids));
      before?.(narrowing);
      return { narrowing, givenUp: narrowing.failed(broken(code)) };
    },
  };
}

/** What was found before one is given up: it is known, and failed alone twice. */
function doubted(uid = 4) {
  const box = mailbox(uid - 1);
  box.fails(range(uid, 6));
  box.fails([uid]);
  box.fails([uid]);
  return box;
}

const otherCame = (narrowing: Narrowing) => {
  narrowing.asksOther();
  narrowing.otherCame();
};

describe('a mailbox that is well', () => {
  test('is visited as ever: nothing is cut, nothing comes before, nothing is asked besides', () => {
    const narrowing = mailbox(3).round();
    expect(narrowing).toMatchObject({ isCareful: false, actsLast: false, listFrom: 3, isSpent: false });
    expect(narrowing.newOf([4, 5])).toEqual([4, 5]);
    expect(narrowing.pieces(range(4, 8), 3)).toEqual([
      [4, 5, 6],
      [7, 8],
    ]);
    expect([narrowing.patienceFor(4), narrowing.otherFor([4])]).toEqual([1, null]);
  });

  test.each(['server_busy', 'interrupted', 'lease_lost', 'database_unavailable', 'parser_unavailable'] as const)(
    'stays so after %s',
    (code) => {
      const box = mailbox();
      expect(box.fails([1, 2], code)).toMatchObject({ givenUp: null, narrowing: { isSetBack: false } });
      expect(box.round().isCareful).toBe(false);
    },
  );

  test('stays so after what came before anything was asked for, and after a verdict of ours', () => {
    const box = mailbox();
    expect(box.round().failed(broken())).toBeNull();
    expect(box.fails([], 'server_nonsense').givenUp).toBeNull();
    expect(box.fails([1], 'connection_lost', (narrowing) => narrowing.asks([])).givenUp).toBeNull();
    expect(box.round().isCareful).toBe(false);
  });
});

describe('after a fetch that failed', () => {
  test('mails come one by one up to the last that was asked for, and as ever from there', () => {
    const box = mailbox();
    expect(box.fails([1, 2, 3])).toMatchObject({ givenUp: null, narrowing: { isSetBack: true } });
    const narrowing = box.round();
    expect(narrowing.isCareful).toBe(true);
    expect(narrowing.pieces(range(1, 8), 3)).toEqual([[1], [2], [3], [4, 5, 6], [7, 8]]);
    narrowing.asks(mails([3]));
    expect(narrowing.isCareful).toBe(true);
    narrowing.asks(mails([4]));
    expect(narrowing.isCareful).toBe(false);
  });

  test('a further failure beyond them reaches further', () => {
    const box = mailbox();
    box.fails([1, 2]);
    box.fails([5, 6]);
    expect(box.round().pieces(range(1, 8), 500)).toEqual([...range(1, 6).map((uid) => [uid]), [7, 8]]);
  });

  test('all is as ever once all is fetched, the cursor is beyond, the folder is another, or for another mailbox', () => {
    const box = mailbox();
    box.fails([1, 2, 3]);
    expect(box.narrowings.of('other', box.cursor).isCareful).toBe(false);
    expect(box.narrowings.of('box', { uidValidity: 7, uid: 2 }).isCareful).toBe(true);
    expect(box.narrowings.of('box', { uidValidity: 7, uid: 3 }).isCareful).toBe(false);
    box.fails([1, 2, 3]);
    expect(box.narrowings.of('box', { uidValidity: 8, uid: 0 }).isCareful).toBe(false);
    box.fails([1, 2, 3]);
    box.round().passed();
    expect(box.round().isCareful).toBe(false);
  });
});

describe('a mail at which the fetch fails', () => {
  test('is given up in the third visit in which it fails alone, when another one came just before', () => {
    const box = doubted();
    const { narrowing, givenUp } = box.fails([4], 'server_refused', (round) => {
      expect(round.listFrom).toBe(0);
      expect(round.otherFor([5])).toBeNull();
      expect(round.otherFor([4])).toBe(9);
      otherCame(round);
    });
    expect(givenUp).toEqual({ uid: 4, sizeBytes: 40, receivedAtMs: null });
    expect(narrowing).toMatchObject({ isSpent: true, isSetBack: true });
    narrowing.passed();
    // Its neighbours are still to come one by one.
    expect(box.narrowings.of('box', { uidValidity: 7, uid: 4 }).pieces([5, 6, 7, 8], 500)).toEqual([[5], [6], [7, 8]]);
  });

  test('is no such mail before that: it is not even asked whether another one comes', () => {
    const box = mailbox(3);
    for (const uids of [[4], [4], [4, 5], [4]]) {
      expect(box.round().otherFor([4])).toBeNull();
      expect(box.fails(uids).givenUp).toBeNull();
    }
    expect(box.round()).toMatchObject({ isCareful: true, listFrom: 3 });
  });

  test('is left alone where the other one does not come either, and is tried before the next other one', () => {
    const box = doubted();
    const asksOther = (round: Narrowing) => round.asksOther();
    const others: (number | null)[] = [];
    for (let visit = 0; visit < 12; visit += 1) {
      const { givenUp } = box.fails([4], 'server_refused', (round) => {
        const other = round.otherFor([4]);
        others.push(other);
        if (other !== null) asksOther(round);
      });
      expect(givenUp).toBeNull();
    }
    expect(others).toEqual([9, null, 1, null, 8, null, 2, null, 7, null, 3, null]);
  });

  test('is left alone where there is no other one', () => {
    const box = doubted();
    for (let visit = 0; visit < 5; visit += 1) {
      const narrowing = box.round();
      narrowing.newOf([4]);
      narrowing.asks(mails([4]));
      expect(narrowing.otherFor([4])).toBeNull();
      expect(narrowing.failed(broken())).toBeNull();
    }
  });

  test('is left alone where the other one is gone or empty; the next time it is another one', () => {
    const box = doubted();
    const absent = (round: Narrowing) => {
      round.asksOther();
      round.asks(mails([4]));
    };
    expect(box.fails([4], 'server_refused', absent).givenUp).toBeNull();
    box.fails([4], 'server_refused', (round) => expect(round.otherFor([4])).toBe(1));
  });

  test('begins anew where it came, or where another one fails first', () => {
    const box = doubted();
    box.round().passed();
    expect(box.fails([4], 'connection_lost', otherCame).givenUp).toBeNull();
    const second = doubted();
    second.fails([5]);
    expect([second.round().otherFor([4]), second.round().listFrom]).toEqual([null, 3]);
  });
});

describe('a line that is too slow', () => {
  const late = (narrowing: Narrowing) => narrowing.isLate();

  test('gives no mail up, and gets more and more time for it', () => {
    const box = mailbox();
    box.fails([1, 2], 'server_timeout', late);
    const patience: number[] = [];
    for (let visit = 0; visit < 7; visit += 1) {
      const { givenUp } = box.fails([1], 'server_timeout', (round) => {
        patience.push(round.patienceFor(1));
        expect([round.patienceFor(2), round.otherFor([1])]).toEqual([1, null]);
        late(round);
        if (visit > 3) otherCame(round);
      });
      expect(givenUp).toBeNull();
    }
    expect(patience).toEqual([1, 2, 4, 8, 16, 16, 16]);
  });
});

describe('an action that breaks the session', () => {
  test('comes after the mails the next time, once', () => {
    const box = mailbox();
    const first = box.round();
    first.actionFailed(broken('server_timeout'));
    expect([first.actsLast, first.isSetBack]).toEqual([false, true]);
    const second = box.round();
    expect([second.actsLast, second.isCareful]).toEqual([true, false]);
    expect(box.round().actsLast).toBe(false);
    second.actionFailed(broken());
    expect(second.isSetBack).toBe(false);
    expect(box.round().actsLast).toBe(true);
  });

  test('is no such thing when the database failed', () => {
    const box = mailbox();
    box.round().actionFailed(broken('database_unavailable'));
    expect(box.round().actsLast).toBe(false);
  });
});
