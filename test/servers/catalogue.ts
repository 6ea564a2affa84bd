/** IMAP servers and databases of the matrix by their names, and why one cannot be had here. */
import { startCourier } from '../support/servers/imap/courier.ts';
import { startCyrus } from '../support/servers/imap/cyrus.ts';
import { startDovecot23 } from '../support/servers/imap/dovecot-23.ts';
import { startDovecot24 } from '../support/servers/imap/dovecot-24.ts';
import { startHoodiecrow } from '../support/servers/imap/hoodiecrow.ts';
import type { ImapServer, Users } from '../support/servers/imap/imap-server.ts';
import { startImap4d } from '../support/servers/imap/imap4d.ts';
import { whyNoLayers } from '../support/servers/layers/layer.ts';
import { startMariadb118 } from '../support/servers/layers/mariadb-118.ts';
import { startMariadb } from '../support/servers/mariadb.ts';
import { startMysql, whyNoMysql } from '../support/servers/mysql.ts';
import { findProgram } from '../support/servers/programs.ts';
import type { DatabaseTarget } from './database-checks.ts';

/** `why` null: it can be had. */
type Kind = { readonly name: string; why(): string | null };

export type ImapServerKind = Kind & { start(users: Users): Promise<ImapServer> };

export type RunningDatabase = {
  readonly version: string;
  /** A new empty one; null: a file of the program. */
  create(): Promise<DatabaseTarget | null>;
} & AsyncDisposable;

export type DatabaseKind = Kind & { start(): Promise<RunningDatabase> };

const always = (): null => null;
const installed = (program: string) => () => (findProgram(program) === null ? `${program} is not installed` : null);

export const imapServers: readonly ImapServerKind[] = [
  { name: 'Dovecot 2.3', why: installed('dovecot'), start: startDovecot23 },
  { name: 'Dovecot 2.4', why: whyNoLayers, start: startDovecot24 },
  { name: 'Cyrus', why: whyNoLayers, start: startCyrus },
  { name: 'Courier', why: whyNoLayers, start: startCourier },
  { name: 'imap4d', why: whyNoLayers, start: startImap4d },
  { name: 'hoodiecrow', why: always, start: (users) => startHoodiecrow(users, true) },
  { name: 'hoodiecrow, bare', why: always, start: (users) => startHoodiecrow(users, false) },
];

export const databases: readonly DatabaseKind[] = [
  { name: 'SQLite', why: always, start: async () => await sqlite() },
  {
    name: 'MariaDB 10.11',
    why: installed('mariadbd'),
    start: async () => serverDatabase(await startMariadb(), null),
  },
  { name: 'MariaDB 11.8', why: whyNoLayers, start: async () => serverDatabase(await startMariadb118(), null) },
  {
    name: 'MySQL 9.7',
    why: whyNoMysql,
    start: async () => {
      const mysql = await startMysql();
      return await serverDatabase(mysql, mysql.caFile);
    },
  },
];

async function sqlite(): Promise<RunningDatabase> {
  return {
    version: process.versions['sqlite'] ?? '',
    create: async () => null,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

type Server = Pick<Awaited<ReturnType<typeof startMariadb>>, 'query' | 'createDatabase'> & AsyncDisposable;

async function serverDatabase(server: Server, caFile: string | null): Promise<RunningDatabase> {
  const version = /^[\d.]+/.exec(await server.query('SELECT VERSION()'))?.[0] ?? '';
  const env: DatabaseTarget['env'] =
    caFile === null ? {} : { TICKETMAILD_DATABASE_CA_FILE: caFile, TICKETMAILD_DATABASE_TLS: 'verify' };
  return {
    version,
    create: async () => ({ url: (await server.createDatabase()).url, env, caFile }),
    [Symbol.asyncDispose]: () => Promise.resolve(server[Symbol.asyncDispose]()),
  };
}
