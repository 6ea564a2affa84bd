/** Nights of the database: away, restarted, hung, read-only, locked, without connections, or with another time. */
import { join } from 'node:path';
import { type Connection, createConnection } from 'mysql2/promise';
import { createFakedClock, findFaketime } from '../../support/faults/faked-clock.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import type { Night, Undo } from '../night.ts';
import type { Stand } from '../stand.ts';

const database = (night: Omit<Night, 'group'>): Night => ({ group: 'database', ...night });

const away = /^check database|503/;
const leastConnections = 10;
const hourS = 3_600;

async function takeConnections({ mariadb, databaseUrl }: Stand): Promise<Undo> {
  await mariadb.query(`SET GLOBAL max_connections = ${leastConnections}`);
  const held: Connection[] = [];
  for (let tries = 0; tries < 200 && held.length < leastConnections; tries += 1) {
    const connection = await createConnection(databaseUrl).catch(() => null);
    if (connection === null) await endOthers(mariadb, held);
    else held.push(connection);
  }
  return async () => {
    await mariadb.query('SET GLOBAL max_connections = 500');
    for (const connection of held) connection.destroy();
  };
}

/** Ends the connections of the daemon, so that ours take their places. */
async function endOthers(mariadb: Stand['mariadb'], held: readonly Connection[]): Promise<void> {
  const ours = held.map(({ threadId }) => threadId);
  const ids = await mariadb.query("SELECT id FROM information_schema.processlist WHERE user = 'app'");
  for (const id of ids.split('\n').filter((one) => one !== '' && !ours.includes(Number(one))))
    await mariadb.query(`KILL ${id}`).catch(() => undefined);
}

/** As a backup or a change of the table by hand does. */
async function lockTables({ databaseUrl }: Stand): Promise<Undo> {
  const connection = await createConnection(databaseUrl);
  await connection.query('LOCK TABLES message WRITE, outcome WRITE');
  return () => connection.end();
}

const clocks = new WeakMap<Stand, Awaited<ReturnType<typeof createFakedClock>>>();

/** The database starts again under a clock that can be set. */
async function fakeClock(stand: Stand): Promise<Undo> {
  const folder = await temporaryFolder('database-clock');
  const clock = await createFakedClock(findFaketime() ?? '', join(folder.path, 'clock'));
  clocks.set(stand, clock);
  await clock.inherited(() => stand.mariadb.restart());
  return async () => {
    await stand.mariadb.restart();
    await folder[Symbol.asyncDispose]();
  };
}

export const noFaketime = async (): Promise<string | null> =>
  findFaketime() === null ? 'libfaketime is not installed (Debian: libfaketime)' : null;

export const databaseNights: readonly Night[] = [
  database({
    ...{ name: 'database stopped', faultS: 25, shows: away },
    make: async ({ stand: { mariadb } }) => {
      await mariadb.stop();
      return () => mariadb.restart();
    },
  }),
  database({
    ...{ name: 'database restarted', faultS: 10, shows: away },
    make: async ({ stand: { mariadb } }) => {
      await mariadb.restart();
      return async () => undefined;
    },
  }),
  database({
    ...{ name: 'database hangs', faultS: 30, shows: away },
    make: async ({ stand: { mariadb } }) => {
      mariadb.signal('SIGSTOP');
      return async () => mariadb.signal('SIGCONT');
    },
  }),
  database({
    ...{ name: 'database read-only', faultS: 30, shows: away },
    make: async ({ stand: { mariadb } }) => {
      await mariadb.query('SET GLOBAL read_only = 1');
      return () => mariadb.query('SET GLOBAL read_only = 0');
    },
  }),
  database({
    ...{ name: 'no connection to the database is free', faultS: 30, shows: away },
    make: ({ stand }) => takeConnections(stand),
  }),
  database({
    ...{ name: 'tables locked', faultS: 45, shows: /^check database|^mailbox|503/ },
    make: ({ stand }) => lockTables(stand),
  }),
  database({
    ...{ name: 'clock of the database an hour ahead', faultS: 35, shows: /clock/, neverShows: /503/, why: noFaketime },
    prepare: fakeClock,
    make: async ({ stand }) => {
      const clock = clocks.get(stand);
      await clock?.set(hourS);
      return async () => clock?.set(0);
    },
  }),
];
