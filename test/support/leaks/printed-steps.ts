/**
 * An administrator of the database who runs what `encryption enable` prints about its files: every line as it is, by a
 * user with the printed rights alone.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { until } from '../promises.ts';
import type { Mariadb } from '../servers/mariadb.ts';

/** A place that may hold passwords, and the lines below it. */
export type PrintedStep = { readonly place: string; readonly lines: readonly string[] };

/** The places that have lines to run, in their order. Throws without rights in the text. */
export function printedSteps(printed: string): { readonly steps: readonly PrintedStep[]; readonly rights: string } {
  const steps: { place: string; lines: string[] }[] = [];
  for (const line of printed.split('\n')) {
    if (line.startsWith('- ')) steps.push({ place: line.slice(2), lines: [] });
    else if (line.startsWith('    ')) steps.at(-1)?.lines.push(line.trim());
  }
  const [, rights] = /^These need the rights (.+)\.$/m.exec(printed) ?? [];
  if (rights === undefined) throw new Error(`no rights are named:\n${printed}`);
  return { steps: steps.filter(({ lines }) => lines.length > 0), rights: rights.replace(' and ', ', ') };
}

const dba = { user: 'dba', password: 'dba' };

/** The user who may do what the text says, and no more. */
export async function createAdministrator(server: Mariadb, rights: string): Promise<void> {
  const user = `${dba.user}@'127.0.0.1'`;
  await server.query(`DROP USER IF EXISTS ${user}; CREATE USER ${user} IDENTIFIED BY '${dba.password}'`);
  await server.query(`GRANT ${rights} ON *.* TO ${user}`);
}

export async function runPrinted(server: Mariadb, { place, lines }: PrintedStep): Promise<void> {
  const isRepeated = place.includes('Repeat both until SHOW BINARY LOGS shows one');
  const run = async (): Promise<void> => {
    for (const line of lines) await runLine(server, line);
  };
  if (!isRepeated) return await run();
  await until('one binary log', async () => {
    await run();
    return (await rowsOf(server, 'SHOW BINARY LOGS')).length === 1;
  });
}

async function runLine(server: Mariadb, line: string): Promise<void> {
  const [, asked, shown] = /^wait until (.+) shows (\S+)$/.exec(line) ?? [];
  if (asked !== undefined) {
    await until(line, async () => (await rowsOf(server, asked)).at(-1)?.at(-1) === shown);
    return;
  }
  const [, seconds, counted, most] = /^wait (\d+) seconds, and until (.+) shows (\d+) or fewer$/.exec(line) ?? [];
  if (counted !== undefined) {
    await sleep(Number(seconds) * 1000);
    await until(line, async () => Number((await rowsOf(server, counted)).at(-1)?.at(-1)) <= Number(most));
    return;
  }
  if (/^shut the server down, delete \S+ in its data folder, start it$/.test(line)) return await restartWithout(server);
  if (!line.endsWith(';')) throw new Error(`this cannot be run: ${line}`);
  const [newest = ''] = line.includes('THE NEWEST ONE')
    ? ((await rowsOf(server, 'SHOW BINARY LOGS')).at(-1) ?? [])
    : [];
  await rowsOf(server, line.slice(0, -1).replace('THE NEWEST ONE', newest));
}

async function restartWithout(server: Mariadb): Promise<void> {
  await server.stop();
  const files = (await readdir(server.dataFolder)).filter((name) => /^#ib_.*\.dblwr$/.test(name));
  if (files.length === 0) throw new Error('there are no such files');
  for (const name of files) await rm(join(server.dataFolder, name));
  await server.restart();
}

/** The values as texts. */
async function rowsOf(server: Mariadb, sql: string): Promise<readonly (readonly string[])[]> {
  const connection = await createConnection({ ...dba, host: server.host, port: server.port, rowsAsArray: true });
  try {
    const [rows] = await connection.query(sql);
    return Array.isArray(rows) ? rows.map((row) => (row as unknown[]).map(String)) : [];
  } finally {
    await connection.end();
  }
}
