/**
 * One change of rows by SQL under running daemons, and the ground that changes are made on: SQL as another program
 * runs it, copies of rows as they were, mailboxes that no other change has, and the stranger's mail server.
 *
 * A change says what it did in words, how it shows, and how an operator undoes it: the former row, or the command that
 * the product advises. Statements run without strict mode, so that values reach the tables which strict mode refuses.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { SeededRandom } from '../../support/random.ts';
import type { Made } from '../kinds.ts';
import type { Mailbox, Scene } from '../scene.ts';
import { type Stranger, startStranger } from './stranger.ts';

/** Changes of one layer are never made at once. */
export type RowLayer = 'settings' | 'rows' | 'password' | 'switch' | 'outcome' | 'workers' | 'schedule';

export type RowChange = {
  readonly name: string;
  readonly layer: RowLayer;
  readonly seconds: readonly [number, number];
  readonly visibleBy: string;
  make(ground: Ground, random: SeededRandom): Promise<Made>;
};

/** A mailbox that no other change has until it is given back. */
export type Reserved = Mailbox & { readonly id: string };

export type Ground = {
  readonly scene: Scene;
  readonly stranger: Stranger;
  /** Rows as lines, columns separated by tabs. */
  sql(text: string): Promise<string>;
  /** The one that had fewest changes so far; by chance among those, for which `fits` holds. */
  reserve(random: SeededRandom, fits?: (mailbox: Reserved) => Promise<boolean>): Promise<Reserved>;
  giveBack(mailbox: Reserved): void;
  /** Copies rows; gives the name of the table with the copies. */
  copy(table: string, where: string): Promise<string>;
  /** Runs a command of the program in the first worker's place until it succeeds. Throws after half a minute. */
  succeed(args: readonly string[], input?: Uint8Array): Promise<void>;
  /** The same at any worker, once: code and output. */
  command(args: readonly string[]): Promise<{ readonly code: number | string; readonly output: string }>;
};

/** Where former rows are kept, out of the product's reach. */
export const copies = 'rows_before';

/** Keeps each row that the switch ever had, as a writer of the database could. */
export const keepSwitchRows = `CREATE DATABASE ${copies};
  CREATE TABLE ${copies}.encryption_switch AS SELECT * FROM encryption_switch;
  ALTER TABLE ${copies}.encryption_switch ADD UNIQUE (revision);
  CREATE TRIGGER switch_rows AFTER UPDATE ON encryption_switch FOR EACH ROW
    INSERT IGNORE INTO ${copies}.encryption_switch SELECT * FROM encryption_switch;`;

const commandMsMax = 30_000;

export async function openGround(scene: Scene): Promise<Ground & AsyncDisposable> {
  const stranger = await startStranger();
  const sql = (text: string): Promise<string> =>
    scene.mariadb.query(`USE ${scene.database}; SET sql_mode = '', time_zone = '+00:00'; ${text}`);
  const ids = (await sql('SELECT name, id FROM mailboxes')).trim().split('\n');
  const idOf = new Map(ids.map((line) => line.split('\t') as [string, string]));
  const mailboxes = scene.mailboxes.map((mailbox): Reserved => ({ ...mailbox, id: idOf.get(mailbox.name) ?? '' }));
  for (const { user } of mailboxes) await scene.dovecot.createFolder(user, emptyFolder);
  const [reserved, uses] = [new Set<string>(), new Map<string, number>()];
  let copied = 0;
  const command: Ground['command'] = (args) => firstWorker(scene).command(args);
  return {
    ...{ scene, stranger, sql, command },
    reserve: async (random, fits = async () => true) => {
      for (;;) {
        const free = mailboxes.filter(({ id }) => !reserved.has(id));
        const least = Math.min(...free.map(({ id }) => uses.get(id) ?? 0));
        const mailbox = random.pick(free.filter(({ id }) => (uses.get(id) ?? 0) <= least + 1));
        if (!(await fits(mailbox))) {
          await sleep(100);
          continue;
        }
        reserved.add(mailbox.id);
        uses.set(mailbox.id, (uses.get(mailbox.id) ?? 0) + 1);
        return mailbox;
      }
    },
    giveBack: ({ id }) => void reserved.delete(id),
    copy: async (table, where) => {
      copied += 1;
      const name = `${copies}.${table}_${copied}`;
      await sql(`CREATE TABLE ${name} AS SELECT * FROM ${table} WHERE ${where}`);
      return name;
    },
    succeed: (args, input) => succeed(scene, args, input),
    [Symbol.asyncDispose]: () => stranger[Symbol.asyncDispose](),
  };
}

/** Each account has it; no message is ever delivered there. */
export const emptyFolder = 'Archive';

function firstWorker({ workers: [first] }: Scene) {
  if (first === undefined) throw new RangeError('no worker');
  return first;
}

/** Another change may stand in the way: a forged switch keeps a password from being stored. */
async function succeed(scene: Scene, args: readonly string[], input?: Uint8Array): Promise<void> {
  const deadline = Date.now() + commandMsMax;
  for (;;) {
    const { code, output } = await firstWorker(scene).command(args, input);
    if (code === 0) return;
    if (Date.now() > deadline) throw new Error(`${args.join(' ')} ended with ${code}:\n${output}`);
    await sleep(500);
  }
}

/** A statement that is run again and again until it is stopped: what the product writes meanwhile does not last. */
export function keepChanging(ground: Ground, statement: string): () => Promise<void> {
  const stop = new AbortController();
  const changing = (async () => {
    while (!stop.signal.aborted) {
      await ground.sql(statement);
      await sleep(250);
    }
  })();
  return () => {
    stop.abort();
    return changing;
  };
}
