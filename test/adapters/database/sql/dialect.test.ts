/**
 * Multi-row INSERT: chunk sizes, statement texts, and equal values by every protocol.
 */
import { Kysely, MysqlAdapter, MysqlIntrospector, MysqlQueryCompiler } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mysqlDialect, sqliteDialect, textProtocolUnitsMax } from '../../../../src/adapters/database/sql/dialect.ts';
import { insertChunks, insertRows } from '../../../../src/adapters/database/sql/statements.ts';
import { type Tables, withDialect } from '../../../../src/adapters/database/sql/tables.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { batchOf, by, opened, plain, sampleMailbox } from '../samples.ts';

const words = mysqlDialect(() => 64 * 1024 * 1024);

function sizesOf(rows: readonly object[], dialect = words): readonly number[] {
  return [...insertChunks(rows, dialect)].map(({ length }) => length);
}

describe('chunks of rows', () => {
  const small = (count: number) => Array.from({ length: count }, (_, id) => ({ id }));
  const large = (count: number, units = 1000) =>
    Array.from({ length: count }, (_, id) => ({ id, text: 'x'.repeat(units) }));

  test('that are small are one chunk', () => {
    expect(sizesOf(small(83))).toEqual([83]);
    expect(sizesOf([])).toEqual([]);
  });

  test('that are larger have few sizes, and a small rest is one chunk', () => {
    expect(sizesOf(large(100))).toEqual([100]);
    expect(sizesOf(large(83))).toEqual([64, 16, 3]);
    expect(sizesOf(large(225))).toEqual([100, 100, 16, 8, 1]);
  });

  test('are within the limit of the dialect; a larger row is a chunk of its own', () => {
    expect(sizesOf(large(5, 900_000))).toEqual([2, 2, 1]);
    expect(sizesOf([...large(1), ...large(1, 3_000_000), ...large(1)])).toEqual([1, 1, 1]);
    expect(
      sizesOf(
        large(100),
        mysqlDialect(() => 80_000),
      ),
    ).toEqual(Array.from({ length: 12 }, () => 8).concat(4));
  });

  test('of SQLite are single rows', () => {
    expect(sizesOf(small(3), sqliteDialect())).toEqual([1, 1, 1]);
  });
});

describe('statements', () => {
  const compiled: { sql: string; parameters: readonly unknown[] }[] = [];
  const kysely = new Kysely<Tables>({
    dialect: {
      createAdapter: () => new MysqlAdapter(),
      createIntrospector: (inner) => new MysqlIntrospector(inner),
      createQueryCompiler: () => new MysqlQueryCompiler(),
      createDriver: () => ({
        init: () => Promise.resolve(),
        acquireConnection: () =>
          Promise.resolve({
            executeQuery: ({ sql, parameters }) => {
              compiled.push({ sql, parameters });
              return Promise.resolve({ rows: [] });
            },
            streamQuery: () => {
              throw new Error('nothing streams');
            },
          }),
        beginTransaction: () => Promise.resolve(),
        commitTransaction: () => Promise.resolve(),
        rollbackTransaction: () => Promise.resolve(),
        releaseConnection: () => Promise.resolve(),
        destroy: () => Promise.resolve(),
      }),
    },
  });
  const db = withDialect(kysely, words);
  const link = (id: string) => ({ ticket_id: id, other_id: 'o', reason: 'mentions', created_at: words.now }) as const;

  test.each([1, 2, 3])('are those of Kysely for %i rows', async (count) => {
    const rows = Array.from({ length: count }, (_, id) => link(String(id)));
    await insertRows(db, 'ticket_link', rows);
    const { sql, parameters } = db.insertInto('ticket_link').values(rows).compile();
    expect(compiled.at(-1)).toEqual({ sql, parameters });
  });

  test('of rows that differ in their columns, or in the use of the database clock, are those of Kysely too', async () => {
    const { created_at: _, ...without } = link('2');
    for (const second of [{ ...link('2'), created_at: '2024-01-01 00:00:00.000' }, without]) {
      const rows = [link('1'), second as ReturnType<typeof link>];
      await insertRows(db, 'ticket_link', rows);
      const { sql, parameters } = db.insertInto('ticket_link').values(rows).compile();
      expect(compiled.at(-1)).toEqual({ sql, parameters });
    }
  });
});

describe.each(kinds)('values on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let on: Opened;
  beforeAll(async () => {
    on = await openKind(kind, stack);
  });
  afterAll(() => stack.disposeAsync());

  const hostile = [
    "it's \\' or 1=1 -- ",
    '? ?? :a @b %s',
    'a\0b\x1a\b\r\n\t"`\\',
    '😀 ẞ\u2028 e\u0301',
    '\\u0027 \\x27',
    '',
  ];

  test.each([
    ['small', ''],
    ['large', 'y'.repeat(textProtocolUnitsMax)],
  ])('of %s rows are read back as written', async (_, more) => {
    const mailbox = sampleMailbox();
    await on.db.addMailbox(mailbox, plain('p4ss'), null, by);
    const lease = await on.db.acquireLease(mailbox.id, 'me', 60_000, null);
    if (lease === null) throw new Error('the lease is taken');
    const texts = [...hostile, ...hostile].map((text) => `${text}${more}`);
    const messages = texts.map((text, index) =>
      opened(index + 1, { subject: text, text, html: text, from: { name: text.slice(0, 200), address: 'a@b' } }),
    );
    await on.db.commitBatch(lease, batchOf(1, messages));
    for (const [index, { ticket }] of messages.entries()) {
      const [message] = (await on.db.ticketByRef(ticket.ref)).messages;
      const text = texts[index];
      expect(message).toMatchObject({ subject: text, text, html: text, from: { name: text?.slice(0, 200) } });
    }
  });
});
