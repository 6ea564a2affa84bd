/**
 * Data remanence: what clears the files of the database fits the server that is there, by product, size of its redo log
 * and limits.
 */
import { expect, test } from 'vitest';
import {
  type DatabaseServer,
  keepsUndoPages,
  plaintextRemnants,
  preparationAdvice,
} from '../../src/encryption/remnants.ts';

const mib = 1024 ** 2;
const mariadb: DatabaseServer = {
  ...{ product: 'mariadb', isUndoScrubbed: false, hasBinaryLog: true, redoLogBytes: 96 * mib },
  ...{ dirtyPagesPct: '85.5', dirtyPagesPctLwm: '3' },
};
const mysql: DatabaseServer = { ...mariadb, product: 'mysql', redoLogBytes: 100 * mib };

const linesFor = (server: DatabaseServer | null) => plaintextRemnants({ kind: 'mysql' }, server, null);
const redoSizes = (server: DatabaseServer) =>
  linesFor(server).flatMap(
    (line) => /^ {4}SET GLOBAL innodb_(?:redo_log_capacity|log_file_size) = (\d+);$/.exec(line)?.[1] ?? [],
  );

test('no statement of one product is printed for the other', () => {
  const own = { mariadb: /history_list_length|innodb_log_file_size/, mysql: /UNDO TABLESPACE|redo_log_capacity|dblwr/ };
  expect(linesFor(mariadb).join('\n')).toMatch(own.mariadb);
  expect(linesFor(mariadb).join('\n')).not.toMatch(own.mysql);
  expect(linesFor(mysql).join('\n')).toMatch(own.mysql);
  expect(linesFor(mysql).join('\n')).not.toMatch(own.mariadb);
  expect(linesFor(null).join('\n')).not.toMatch(/SET GLOBAL|UNDO|These need/);
});

test('the former size of the redo log and the former limits are set again at the end', () => {
  expect(redoSizes(mariadb)).toEqual([192 * mib, 96 * mib].map(String));
  expect(redoSizes(mysql)).toEqual([8 * mib, 100 * mib].map(String));
  expect(redoSizes({ ...mysql, redoLogBytes: 8 * mib })).toEqual([16, 8, 16, 8].map((size) => `${size * mib}`));
  for (const server of [mariadb, mysql]) {
    const limits = linesFor(server).filter((line) => line.includes('dirty_pages_pct'));
    expect(limits.slice(-2).map((line) => line.trim())).toEqual([
      'SET GLOBAL innodb_max_dirty_pages_pct = 85.5;',
      'SET GLOBAL innodb_max_dirty_pages_pct_lwm = 3;',
    ]);
  }
});

test('the preparation is for a MariaDB that does not scrub', () => {
  expect(preparationAdvice(mariadb).join()).toContain('innodb_immediate_scrub_data_uncompressed = ON');
  expect(keepsUndoPages(mariadb)).toBe(true);
  for (const server of [mysql, null, { ...mariadb, isUndoScrubbed: true }])
    expect([preparationAdvice(server), keepsUndoPages(server)]).toEqual([[], false]);
});

test('a server without a binary log has no step for it, and needs no right for it', () => {
  for (const server of [mariadb, mysql]) {
    const without = linesFor({ ...server, hasBinaryLog: false }).join('\n');
    expect(linesFor(server).join('\n')).toMatch(/PURGE BINARY LOGS.*These need the rights .*BINLOG.ADMIN\./s);
    expect(without).not.toMatch(/BINARY LOG|BINLOG|RELOAD|replica/i);
    expect(without).toMatch(/These need the rights (SUPER|CREATE TABLESPACE, PROCESS and SYSTEM_VARIABLES_ADMIN)\./);
  }
});
