import { startMariadb } from '../../support/servers/mariadb.ts';
import { tokenVisitsRun } from './e-tv.ts';

await using mariadb = await startMariadb({ durable: true });
const r = await tokenVisitsRun({ mariadb, polls: 300, runs: 2, progress: () => {} });
console.log(JSON.stringify(r, null, 0));
