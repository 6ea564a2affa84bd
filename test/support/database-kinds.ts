/**
 * Databases of stories that run on both: MariaDB by default, SQLite in the long form. The contract tests of the store
 * run on both always.
 */
export type DatabaseKind = 'mariadb' | 'sqlite';

export const databaseKinds: readonly { readonly kind: DatabaseKind; readonly tags: string[] }[] = [
  { kind: 'mariadb', tags: [] },
  { kind: 'sqlite', tags: ['long'] },
];
