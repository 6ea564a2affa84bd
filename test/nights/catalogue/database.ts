/** Nights of the database: away, restarted, hung, full, locked, or with another time. */
import type { Night } from '../night.ts';

const database = (night: Omit<Night, 'group'>): Night => ({ group: 'database', ...night });

export const databaseNights: readonly Night[] = [
  database({
    name: 'database stopped',
    faultS: 25,
    shows: /^check database|503/,
    make: async ({ stand: { mariadb } }) => {
      await mariadb.stop();
      return () => mariadb.restart();
    },
  }),
];
