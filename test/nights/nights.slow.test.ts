/**
 * The bench itself with one short night: the fault is made, seen and gone, and its canaries are counted. All nights are
 * `npm run nights`.
 */
import { expect, test } from 'vitest';
import { whyNoSystemd } from '../support/systemd/systemd.ts';
import { nights } from './catalogue/catalogue.ts';
import { nightsText } from './report.ts';
import { runNights } from './run.ts';

const why = await whyNoSystemd();
const silent = { now: () => undefined, news: () => undefined, counting: () => ({ [Symbol.dispose]: () => undefined }) };

test.skipIf(why !== null)(
  'a night is made, seen, over, and counted',
  async () => {
    const chosen = nights.filter(({ name }) => name === 'database stopped');
    const report = await runNights({ nights: chosen, lanes: 1, stop: new AbortController().signal }, silent);
    expect(report).toMatchObject({ isWhole: true, rows: [{ violations: [], canaries: { lost: 0, doubled: 0 } }] });
    const [row] = report.rows;
    expect(row?.canaries.sent).toBeGreaterThan(20);
    expect(row?.visibleAfterS).toBeLessThan(5);
    expect(nightsText(report)).toContain('Nothing hidden, lost or doubled.');
  },
  180_000,
);

test('names of nights are unique', () => {
  expect(new Set(nights.map(({ name }) => name)).size).toBe(nights.length);
});
