/**
 * The machinery of the matrix of servers on the one server that needs no installation: every check has a cell, the tour
 * has every pair, and a cell that is wrong is counted. The whole matrix is `npm run servers`.
 */
import { expect, test } from 'vitest';
import { modifiedUtf7 } from '../support/servers/imap/modified-utf7.ts';
import { databaseChecks } from './database-checks.ts';
import { imapChecks } from './imap-checks.ts';
import { matrixText, violations } from './report.ts';
import { type Matrix, type Row, runMatrix } from './run.ts';
import { readOptions } from './servers.ts';
import { circuit } from './tour.ts';

const silent = { now: () => undefined, news: () => undefined };

test('all checks of one IMAP server succeed, and each has its cell', async () => {
  const stop = new AbortController().signal;
  const matrix = await runMatrix({ only: ['hoodiecrow'], databases: [], stop }, silent);
  expect(violations(matrix)).toEqual([]);
  expect(matrix.imap.map(({ name, cells }) => [name, cells.length])).toEqual([['hoodiecrow', imapChecks.length]]);
  for (const { name } of imapChecks) expect(matrixText(matrix)).toContain(name);
}, 120_000);

test('a wrong cell, a wrong move and a missing server are in the report', () => {
  const row = (name: string, checks: readonly unknown[], missing: string | null): Row => ({
    ...{ name, version: missing === null ? '1.0' : null, missing, lacks: [], seconds: 90 },
    cells: missing === null ? checks.map((_, index) => ({ ok: index !== 1, text: `cell ${index}` })) : [],
  });
  const matrix: Matrix = {
    imap: [row('here', imapChecks, null), row('away', imapChecks, 'not root')],
    databases: [row('store', databaseChecks, null)],
    tour: { moves: [{ from: 'here', to: 'there', problem: '3 ticket_opened' }], messages: 83 },
  };
  expect(violations(matrix)).toEqual([
    'here, ingest: cell 1',
    'move from here to there: 3 ticket_opened',
    'store, add: cell 1',
  ]);
  expect(matrixText(matrix)).toContain('missing: away: not root');
  expect(matrixText(matrix)).toContain('WRONG');
  expect(matrixText(matrix)).toMatch(/^minutes {2,}1\.5 +-$/m);
});

test('a whole name is that server alone, a part of names all of them', () => {
  const only = (text: string) => readOptions(['--only', text]).only;
  expect(only('hoodiecrow')).toEqual(['hoodiecrow']);
  expect(only('bare, dovecot')).toEqual(['hoodiecrow, bare', 'Dovecot 2.3', 'Dovecot 2.4']);
  expect(readOptions(['--only', 'none']).only).toEqual([]);
  expect(() => only('exchange')).toThrow('--only: nothing is named exchange');
});

test('the tour moves from each server to each other once, and ends where it began', () => {
  for (const count of [2, 3, 7]) {
    const stops = circuit(count);
    const moves = stops.slice(1).map((to, index) => `${stops[index]} ${to}`);
    expect(new Set(moves).size).toBe(count * (count - 1));
    expect(moves).toHaveLength(count * (count - 1));
    expect(stops.at(-1)).toBe(stops[0]);
  }
});

test('names of folders are written in modified UTF-7', () => {
  expect(modifiedUtf7('~peter/mail/台北/日本語')).toBe('~peter/mail/&U,BTFw-/&ZeVnLIqe-');
  expect(modifiedUtf7('Größe & Maß')).toBe('Gr&APYA3w-e &- Ma&AN8-');
});
