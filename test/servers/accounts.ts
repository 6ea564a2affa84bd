/** Users of every server of the matrix: the ones of the checks, one for each stop of the tour, and odd passwords. */
import type { Users } from '../support/servers/imap/imap-server.ts';

export const mainUser = 'main@example.test';

const usualPassword = 'pw';

/** What clients quote, escape, cut or take for syntax. */
export const oddPasswords: readonly string[] = [
  'two words',
  ' leading space',
  'trailing space ',
  'double " quote',
  "single ' quote",
  'back\\slash\\',
  '"\\"\\\\"',
  'Pässwörd€',
  '日本語🔑',
  '{3}',
  '100%s%n%',
  'long-'.repeat(40),
  '(list) [code] *',
  '$`a`&b;c|d<e>#~',
  'colon:comma,at@=',
];

export const oddUser = (index: number): string => `odd-${index + 1}@example.test`;
export const tourUser = (stop: number): string => `tour-${stop}@example.test`;

/** Enough for every pair of as many servers as the matrix may have. */
const tourStopsMax = 100;

export const users: Users = new Map([
  [mainUser, usualPassword],
  ...oddPasswords.map((password, index): [string, string] => [oddUser(index), password]),
  ...Array.from({ length: tourStopsMax }, (_, stop): [string, string] => [tourUser(stop), usualPassword]),
]);
