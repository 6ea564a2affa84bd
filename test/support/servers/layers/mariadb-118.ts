/** MariaDB 11.8 in a layer of Debian 13, with the user and databases of `mariadb.ts`. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../temporary.ts';
import { createDatabase, type Mariadb, usersSql } from '../mariadb.ts';
import { freePort, runProgram, untilGreets } from '../programs.ts';
import { packageLayer } from './layer.ts';

const startTimeoutMs = 30_000;

export async function startMariadb118(): Promise<Pick<Mariadb, 'query' | 'createDatabase'> & AsyncDisposable> {
  const layer = await packageLayer('debian-13', ['mariadb-server-core', 'mariadb-client-core']);
  await using building = new AsyncDisposableStack();
  const { path: folder } = building.use(await temporaryFolder('mariadb-118'));
  const port = await freePort();
  const [data, socket] = [join(folder, 'data'), join(folder, 'socket')];
  await mkdir(data);
  await writeFile(join(folder, 'users.sql'), usersSql);
  const own = ['--no-defaults', '--user=root', `--datadir=${data}`, '--innodb-buffer-pool-size=64M'];
  const quick = ['--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve', '--force'];
  await layer.run(folder, 'mariadb-install-db', [...own, ...quick, `--tmpdir=${folder}`]);
  const server = layer.start(folder, 'mariadbd', [
    ...[...own, `--socket=${socket}`, `--port=${port}`, '--bind-address=127.0.0.1', '--skip-name-resolve'],
    ...[`--init-file=${join(folder, 'users.sql')}`, '--innodb-flush-log-at-trx-commit=2'],
  ]);
  building.defer(async () => {
    server.killAll();
    await server.exit;
  });
  await untilGreets(server, port, startTimeoutMs, () => server.output());
  const query = (sql: string): Promise<string> =>
    runProgram('mariadb', ['--no-defaults', '-uroot', `--socket=${socket}`, '-NB'], { input: sql });
  const undo = building.move();
  return {
    query,
    createDatabase: async ({ characterSet = 'utf8mb4' } = {}) => await createDatabase(query, port, characterSet),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}
