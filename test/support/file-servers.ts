/** Dovecot and MariaDB for the tests of one file: started before the first test, ended after the last. */
import { afterAll, beforeAll } from 'vitest';
import { type Dovecot, startDovecot } from './servers/dovecot.ts';
import { type Mariadb, startMariadb } from './servers/mariadb.ts';

export type FileServers = { readonly dovecot: Dovecot; readonly mariadb: Mariadb };

export function serversOfFile(started: (servers: FileServers) => void): void {
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    const [dovecot, mariadb] = await Promise.all([startDovecot(), startMariadb()]);
    stack.use(dovecot);
    stack.use(mariadb);
    started({ dovecot, mariadb });
  });
  afterAll(() => stack.disposeAsync());
}
