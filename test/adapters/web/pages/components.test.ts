/** Components of pages: reasons in plain words. */
import { expect, test } from 'vitest';
import { inPlainWords } from '../../../../src/adapters/web/pages/components.ts';

test.each([
  ['folder_missing: the folder does not exist.', 'The folder does not exist.'],
  ['the database does not answer', 'The database does not answer'],
  ['tls_expired', 'tls_expired'],
  ['imap.example.org: no answer', 'Imap.example.org: no answer'],
])('%s is shown as "%s"', (reason, shown) => {
  expect(inPlainWords(reason)).toBe(shown);
});
