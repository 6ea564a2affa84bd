/**
 * The matrix: the checks of each IMAP server with SQLite, a move of one mailbox from each server to each other, and the
 * checks of each database with Dovecot. Not every server with every database.
 *
 * A check that fails is a cell of its own, and the next ones are done all the same. A server that cannot be had, or
 * does not start, has its reason in place of its cells.
 */
import type { Progress } from '../support/progress.ts';
import { openClient } from '../support/servers/imap/imap-server.ts';
import { mainUser, users } from './accounts.ts';
import { type DatabaseKind, databases, type ImapServerKind, imapServers } from './catalogue.ts';
import { databaseChecks, databaseMessages } from './database-checks.ts';
import { imapChecks } from './imap-checks.ts';
import { openProgram } from './program.ts';
import { type NamedServer, runTour, type Tour } from './tour.ts';

export type Cell = { readonly ok: boolean; readonly text: string };

export type Row = {
  readonly name: string;
  /** null: it did not start. */
  readonly version: string | null;
  /** Why there are no cells; null: there are. */
  readonly missing: string | null;
  readonly cells: readonly Cell[];
  /** Extensions that the program would use and the server lacks. */
  readonly lacks: readonly string[];
  /** From its start to its last cell. */
  readonly seconds: number;
};

type UntimedRow = Omit<Row, 'seconds'>;

export type Matrix = {
  readonly imap: readonly Row[];
  readonly databases: readonly Row[];
  readonly tour: Tour;
};

export type MatrixOptions = {
  /** Names of IMAP servers; null: all. */
  readonly only: readonly string[] | null;
  readonly databases: readonly string[] | null;
  /** Ends before the next server. */
  readonly stop: AbortSignal;
};

const extensions = ['IDLE', 'MOVE', 'UIDPLUS', 'CONDSTORE'] as const;
/** The server whose messages fill the databases. */
const mailOfDatabases = 'Dovecot 2.3';

export async function runMatrix(options: MatrixOptions, progress: Pick<Progress, 'now' | 'news'>): Promise<Matrix> {
  await using running = new AsyncDisposableStack();
  const named: NamedServer[] = [];
  const imap: Row[] = [];
  for (const kind of chosen(imapServers, options.only)) {
    if (options.stop.aborted) break;
    imap.push(await timed(imapRow(kind, running, named, progress)));
  }
  const isTour = named.length > 1 && !options.stop.aborted;
  const tour = isTour
    ? await runTour(named, ({ from, to }) => progress.now(`move: ${from} to ${to}`))
    : { moves: [], messages: 0 };
  const rows: Row[] = [];
  for (const kind of chosen(databases, options.databases)) {
    if (options.stop.aborted) break;
    rows.push(await timed(databaseRow(kind, progress)));
  }
  return { imap, databases: rows, tour };
}

function chosen<T extends { readonly name: string }>(
  kinds: readonly T[],
  names: readonly string[] | null,
): readonly T[] {
  return names === null ? kinds : kinds.filter(({ name }) => names.includes(name));
}

async function timed(row: Promise<UntimedRow>): Promise<Row> {
  const startedAt = performance.now();
  return { ...(await row), seconds: Math.round((performance.now() - startedAt) / 1000) };
}

const noRow = (name: string, missing: string): UntimedRow => ({ name, version: null, missing, cells: [], lacks: [] });

/** The server continues to run, for the tour. */
async function imapRow(
  { name, why, start }: ImapServerKind,
  running: AsyncDisposableStack,
  named: NamedServer[],
  { now }: Pick<Progress, 'now'>,
): Promise<UntimedRow> {
  now(`${name}: starting`);
  const reason = why();
  if (reason !== null) return noRow(name, reason);
  const server = await start(users).catch(endOf);
  if (typeof server === 'string') return noRow(name, `does not start: ${server}`);
  running.use(server);
  named.push({ name, server });
  await using program = await openProgram();
  await using client = await openClient(server, users, mainUser);
  const scene = { server, program, client, sent: [] };
  const cells: Cell[] = [];
  for (const check of imapChecks) {
    now(`${name}: ${check.name}`);
    cells.push(await cellOf(() => check.run(scene)));
  }
  const lacks = extensions.filter((extension) => !client.capabilities.has(extension));
  return { name, version: server.version, missing: null, cells, lacks };
}

async function databaseRow({ name, why, start }: DatabaseKind, { now }: Pick<Progress, 'now'>): Promise<UntimedRow> {
  now(`${name}: starting`);
  const mailKind = imapServers.find((kind) => kind.name === mailOfDatabases);
  const reason = why() ?? mailKind?.why() ?? null;
  if (reason !== null || mailKind === undefined) return noRow(name, reason ?? '');
  await using building = new AsyncDisposableStack();
  const mail = building.use(await mailKind.start(users));
  const database = await start().catch(endOf);
  if (typeof database === 'string') return noRow(name, `does not start: ${database}`);
  building.use(database);
  const own = await database.create();
  const program = building.use(await openProgram(own?.url ?? null, own?.env));
  const scene = { program, mail, sent: databaseMessages(), target: await database.create() };
  const cells: Cell[] = [];
  for (const check of databaseChecks) {
    now(`${name}: ${check.name}`);
    cells.push(await cellOf(() => check.run(scene)));
  }
  return { name, version: database.version, missing: null, cells, lacks: [] };
}

async function cellOf(check: () => Promise<string>): Promise<Cell> {
  try {
    return { ok: true, text: await check() };
  } catch (error) {
    return { ok: false, text: error instanceof Error ? error.message : String(error) };
  }
}

/** The end of an error in one line, where a program says why it ended. */
function endOf(error: unknown): string {
  return `${error}`.replaceAll(/\s+/gu, ' ').trim().slice(-300);
}
