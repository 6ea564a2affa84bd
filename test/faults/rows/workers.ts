/**
 * Changes of `workers`, repeated while they last, and of what workers write of a mailbox: lease, due time, cursor.
 */
import type { SeededRandom } from '../../support/random.ts';
import { anyOf, badCheck, type Made, type Seen, type Sign } from '../kinds.ts';
import { type Ground, keepChanging, type Reserved, type RowChange } from './change.ts';
import { isReadSince, mailboxIsBad, touch } from './signs.ts';

function liveIs(isIt: (live: number, workers: number) => boolean) {
  return ({ now, workers }: Seen): Sign => {
    const live = now.checks.workers?.live;
    if (live === undefined) return null;
    return isIt(live, workers) && `${live < workers ? 'fewer' : 'more'} workers live`;
  };
}

const fewer = liveIs((live, workers) => live < workers);

const heartbeats = [
  `'0000-00-00'`,
  `'1970-01-01'`,
  `UTC_TIMESTAMP() - INTERVAL 1 HOUR`,
  `UTC_TIMESTAMP() + INTERVAL 1 HOUR`,
  `'9999-12-31 23:59:59.999'`,
];

const shapes = ['pid = 18446744073709551615', 'revision = 18446744073709551615', `pid = 9007199254740993`];

function kept(ground: Ground, statement: string, what: string, visible: Made['visible']): Made {
  return { what, visible, undo: keepChanging(ground, statement) };
}

const one = `(SELECT * FROM (SELECT MIN(worker) FROM workers) AS one)`;

export const workerChanges: readonly RowChange[] = [
  {
    ...{ name: 'heartbeats', layer: 'workers', seconds: [9, 15], visibleBy: 'workers not ok, or fewer live' },
    make: async (ground, random) => {
      const where = random.chance(0.5) ? '' : ` WHERE worker = ${one}`;
      const set = `heartbeat_at = ${random.pick(heartbeats)}${where}`;
      return kept(ground, `UPDATE workers SET ${set}`, set, (seen) => anyOf(badCheck(seen, 'workers'), fewer(seen)));
    },
  },
  {
    ...{ name: 'workers deleted', layer: 'workers', seconds: [9, 15], visibleBy: 'fewer workers live' },
    make: async (ground) => kept(ground, 'DELETE FROM workers', 'all workers deleted', fewer),
  },
  {
    ...{ name: 'workers of another shape', layer: 'workers', seconds: [9, 15], visibleBy: 'fewer workers live' },
    make: async (ground, random) => {
      const set = random.pick(shapes);
      return kept(ground, `UPDATE workers SET ${set}`, set, fewer);
    },
  },
  {
    ...{ name: 'ghosts', layer: 'workers', seconds: [9, 15], visibleBy: 'more workers live' },
    make: async (ground, random) => {
      const count = random.pick([1, 30, 300]);
      const host = random.pick([`'elsewhere'`, `REPEAT(CHAR(27), 255)`, `'all is well. Run: rm -rf /'`]);
      const statement = `INSERT INTO workers (worker, host, pid, key_ids, vault, revision, started_at, heartbeat_at)
        SELECT CONCAT(CHAR(0), 'ghost-', seq), ${host}, seq, REPEAT('f', 16), 'open', 1, UTC_TIMESTAMP(), UTC_TIMESTAMP()
        FROM seq_1_to_${count} ON DUPLICATE KEY UPDATE heartbeat_at = UTC_TIMESTAMP()`;
      const { undo, ...made } = kept(
        ground,
        statement,
        `${count} ghosts`,
        liveIs((live, all) => live > all),
      );
      return {
        ...made,
        undo: async () => {
          await undo();
          await ground.sql(`DELETE FROM workers WHERE worker LIKE '%ghost-%'`);
        },
      };
    },
  },
];

const counterMax = 4294967295;
const numberMax = '18446744073709551615';

/** The next poll takes it as it is, or puts it right. */
const selfHealing: readonly string[] = [
  `lease_owner = 'mallory', lease_until = '9999-12-31'`,
  `lease_owner = 'mallory', lease_until = UTC_TIMESTAMP() + INTERVAL 2 HOUR`,
  `lease_owner = '', lease_until = '0000-00-00'`,
  'lease_epoch = lease_epoch + 1',
  'lease_epoch = 0',
  `next_poll_at = '9999-12-31 23:59:59.999'`,
  `next_poll_at = UTC_TIMESTAMP() + INTERVAL 1 DAY`,
  `next_poll_at = '0000-00-00'`,
  'failures = 7, last_error_code = NULL',
  `failures = ${counterMax}, login_failures = ${counterMax}, login_failed_version = 'x'`,
  `failures = 3, last_error_code = REPEAT('x', 32), last_error_message = REPEAT(CHAR(27), 10000), last_error_at = '9999-12-31'`,
  `failing_since = '0000-00-00', last_success_at = NULL`,
];

const numbers: readonly string[] = [
  `lease_epoch = ${numberMax}`,
  'lease_epoch = 9007199254740991',
  `folder_generation = ${counterMax}, cursor_folder_hash = REPEAT('0', 64)`,
  `cursor_uid = ${numberMax}`,
  `cursor_folder_epoch = ${numberMax}`,
  `cursor_start_uid = ${numberMax}`,
];

const cursors: readonly string[] = [
  'cursor_uid = 0',
  'cursor_uid = cursor_uid DIV 2',
  'cursor_uid = cursor_uid + 3',
  'cursor_uid = 4294967295',
  'cursor_uid = NULL',
  'cursor_folder_epoch = cursor_folder_epoch + 4294967296',
  'cursor_folder_epoch = 1',
  'cursor_folder_epoch = NULL, cursor_folder_hash = NULL',
  `cursor_folder_hash = 'x'`,
  'cursor_start_uid = NULL',
];

/** Sets columns of the state of one mailbox. */
async function setState(ground: Ground, mailbox: Reserved, set: string): Promise<void> {
  await ground.sql(`UPDATE mailbox_state SET ${set} WHERE mailbox_id = '${mailbox.id}'`);
}

/** One that no worker polls at the moment: a poll in progress overwrites what is changed. */
function resting(ground: Ground, random: SeededRandom): Promise<Reserved> {
  return ground.reserve(random, async ({ id }) => {
    const owner = await ground.sql(`SELECT 1 FROM mailbox_state WHERE mailbox_id = '${id}' AND lease_owner IS NULL`);
    return owner !== '';
  });
}

export const scheduleChanges: readonly RowChange[] = [
  {
    ...{ name: 'lease stolen', layer: 'schedule', seconds: [5, 10], visibleBy: 'overdue, a quarter of an hour later' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      // As it is after that time.
      const since = `next_poll_at = UTC_TIMESTAMP(3) - INTERVAL 16 MINUTE`;
      const lease = `lease_owner = 'mallory', lease_until = UTC_TIMESTAMP() + INTERVAL 50 MINUTE`;
      const undo = keepChanging(
        ground,
        `UPDATE mailbox_state SET ${lease}, ${since} WHERE mailbox_id = '${mailbox.id}'`,
      );
      return {
        ...{ visible: mailboxIsBad(mailbox.name, /^overdue/), what: `lease of ${mailbox.name} stolen` },
        undo: async () => {
          await undo();
          await setState(ground, mailbox, 'lease_owner = NULL, lease_until = NULL');
          ground.giveBack(mailbox);
        },
      };
    },
  },
  {
    ...{ name: 'schedule changed', layer: 'schedule', seconds: [10, 16], visibleBy: 'the mailbox is read as before' },
    make: async (ground, random) => {
      const mailbox = await resting(ground, random);
      const set = random.pick(selfHealing);
      await setState(ground, mailbox, set);
      return {
        ...{ visible: isReadSince(mailbox.name), what: `${set} of ${mailbox.name}` },
        undo: async () => ground.giveBack(mailbox),
      };
    },
  },
  {
    ...{ name: 'schedule out of range', layer: 'schedule', seconds: [8, 14] },
    visibleBy: 'the mailbox is failing, or read as before',
    make: async (ground, random) => {
      const mailbox = await resting(ground, random);
      const set = random.pick(numbers);
      const copy = await ground.copy('mailbox_state', `mailbox_id = '${mailbox.id}'`);
      await setState(ground, mailbox, set);
      const [isRead, isBad] = [isReadSince(mailbox.name), mailboxIsBad(mailbox.name, /./)];
      await touch(ground, mailbox);
      const column = /^\w+/.exec(set)?.[0];
      return {
        ...{ visible: (seen) => anyOf(isBad(seen), isRead(seen)), what: `${set} of ${mailbox.name}` },
        undo: async () => {
          const back = `now.${column} = former.${column}, now.folder_generation = former.folder_generation`;
          await ground.sql(`UPDATE mailbox_state AS now JOIN ${copy} AS former USING (mailbox_id) SET ${back}`);
          ground.giveBack(mailbox);
        },
      };
    },
  },
  {
    ...{ name: 'cursor moved', layer: 'schedule', seconds: [8, 14], visibleBy: 'the mailbox is read as before' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const set = random.pick(cursors);
      await setState(ground, mailbox, set);
      const sight = isReadSince(mailbox.name);
      await touch(ground, mailbox);
      return {
        ...{ visible: sight, what: `${set} of ${mailbox.name}` },
        undo: async () => ground.giveBack(mailbox),
      };
    },
  },
  {
    ...{ name: 'schedule deleted', layer: 'schedule', seconds: [8, 14], visibleBy: 'the mailbox is read as before' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      await ground.sql(`DELETE FROM mailbox_state WHERE mailbox_id = '${mailbox.id}'`);
      return {
        ...{ visible: isReadSince(mailbox.name), what: `state of ${mailbox.name} deleted` },
        undo: async () => ground.giveBack(mailbox),
      };
    },
  },
];
