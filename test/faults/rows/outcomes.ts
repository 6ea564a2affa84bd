/** Changes of `outcome`: rows that go, rows that are changed, and forged rows of messages that are still to come. */
import type { SeededRandom } from '../../support/random.ts';
import { anyOf, type Made } from '../kinds.ts';
import type { Ground, Reserved, RowChange } from './change.ts';
import { commandSays, isLogged, isReadSince, touch } from './signs.ts';

/** A mailbox with outcomes, and the condition for the newest of them. */
async function newest(ground: Ground, random: SeededRandom, count: number, more = '1 = 1') {
  const rowsOf = ({ id }: Reserved): string =>
    `SELECT outcome.folder_epoch, uid FROM outcome JOIN mailbox_state USING (mailbox_id)
     WHERE mailbox_id = '${id}' AND folder_epoch = cursor_folder_epoch AND action_pending = 0
       AND (${more}) ORDER BY uid DESC LIMIT ${count}`;
  const mailbox = await ground.reserve(random, async (one) => (await ground.sql(rowsOf(one))) !== '');
  const rows = (await ground.sql(rowsOf(mailbox))).trim().split('\n');
  const keys = rows.map((row) => `(${row.replace('\t', ', ')})`).join(', ');
  return { mailbox, where: `mailbox_id = '${mailbox.id}' AND (folder_epoch, uid) IN (${keys})`, count: rows.length };
}

const stored = 'message_id IS NOT NULL';

/** Values that no decision depends on: the mailbox is read as before. */
const harmless: readonly string[] = [
  'size_bytes = 18446744073709551615',
  `raw_segment = '../../../../etc/passwd'`,
  'raw_offset = 18446744073709551615, raw_length = 18446744073709551615',
  `raw_sha256 = 'x', action_seal = REPEAT('0', 64)`,
  `reason = '{"', created_at = '9999-12-31', resolved_at = '9999-12-31'`,
  `created_at = '0000-00-00', received_at = '0000-00-00', resolved_at = '0000-00-00'`,
  'dedup_key = NULL',
  `outcome = ''`,
  `outcome = 'quarantined'`,
  `outcome = 'vanished', reason = REPEAT('x', 255)`,
  'ticket_id = UUID()',
  'action_pending = 1',
  'action_pending = 255, size_bytes = 0',
  'folder_epoch = folder_epoch + 4294967296',
  'folder_epoch = 18446744073709551615',
  'uid = uid + 4294967296',
  'uid = 18446744073709551615',
];

/** Rows beside the right ones. */
const added: readonly string[] = [
  `UUID(), folder_epoch, uid`,
  `mailbox_id, 18446744073709551615, uid`,
  `mailbox_id, folder_epoch, 18446744073709551615`,
  `mailbox_id, folder_epoch + 4294967296, uid`,
  `mailbox_id, folder_epoch, 0`,
  `mailbox_id, 0, 0`,
];

const otherColumns = `outcome, reason, ticket_id, message_id, dedup_key, size_bytes, received_at, raw_segment, raw_offset,
  raw_length, raw_sha256, action_pending, action_seal, created_at, resolved_at`;

/** A message that the product has put right meanwhile has its outcome, in another folder epoch. */
const isRightAgain = (copy: string): string => `EXISTS (SELECT 1 FROM outcome AS now
  WHERE now.mailbox_id = ${copy}.mailbox_id AND now.uid = ${copy}.uid AND now.folder_epoch <> ${copy}.folder_epoch)`;

async function restored(ground: Ground, mailbox: Reserved, copy: string): Promise<void> {
  await ground.sql(`REPLACE INTO outcome SELECT * FROM ${copy}`);
  ground.giveBack(mailbox);
}

export const outcomeChanges: readonly RowChange[] = [
  {
    ...{ name: 'outcomes deleted', layer: 'outcome', seconds: [12, 18] },
    visibleBy: 'reconcile NAME fails, or folder.late_messages',
    make: async (ground, random) => {
      const { mailbox, where, count } = await newest(ground, random, random.pick([1, 5, 10_000]));
      const isByCommand = random.chance(0.5);
      const copy = await ground.copy('outcome', where);
      const isLate = isLogged(ground, 'folder.late_messages', mailbox.name);
      await ground.sql(`DELETE FROM outcome WHERE ${where}`);
      const reconciled = commandSays(ground, ['reconcile', mailbox.name], /missing|skipped/);
      return {
        what: `${count} outcomes of ${mailbox.name} deleted, ${isByCommand ? '--repair' : 'the rows'}`,
        visible: (seen) => anyOf(reconciled.visible(seen), isLate(seen)),
        undo: async () => {
          reconciled.stop();
          if (!isByCommand) {
            await ground.sql(`DELETE FROM ${copy} WHERE ${isRightAgain(copy)}`);
            return await restored(ground, mailbox, copy);
          }
          await ground.succeed(['reconcile', mailbox.name, '--repair']);
          ground.giveBack(mailbox);
        },
      };
    },
  },
  {
    ...{ name: 'outcomes without their messages', layer: 'outcome', seconds: [8, 14], visibleBy: 'reconcile fails' },
    make: async (ground, random) => {
      const { mailbox, where } = await newest(ground, random, random.between(1, 3), stored);
      const set = random.pick(['message_id = NULL', 'message_id = UUID()', `message_id = ''`]);
      const copy = await ground.copy('outcome', where);
      await ground.sql(`UPDATE outcome SET ${set} WHERE ${where}`);
      const reconciled = commandSays(ground, ['reconcile'], /not all accounted for/);
      return {
        ...{ visible: reconciled.visible, what: `${set} of outcomes of ${mailbox.name}` },
        undo: async () => {
          reconciled.stop();
          await restored(ground, mailbox, copy);
        },
      };
    },
  },
  {
    ...{ name: 'outcomes changed', layer: 'outcome', seconds: [8, 14], visibleBy: 'the mailbox is read as before' },
    make: async (ground, random) => {
      const { mailbox, where } = await newest(ground, random, 1, stored);
      const set = random.pick(harmless);
      const copy = await ground.copy('outcome', where);
      await ground.sql(`UPDATE outcome SET ${set}, action_seal = 'changed' WHERE ${where}`);
      const sight = isReadSince(mailbox.name);
      await touch(ground, mailbox);
      return {
        ...{ visible: sight, what: `${set} of an outcome of ${mailbox.name}` },
        undo: async () => {
          await ground.sql(`DELETE FROM outcome WHERE mailbox_id = '${mailbox.id}' AND action_seal = 'changed'`);
          await restored(ground, mailbox, copy);
        },
      };
    },
  },
  {
    ...{ name: 'outcomes added', layer: 'outcome', seconds: [8, 14], visibleBy: 'the mailbox is read as before' },
    make: async (ground, random) => {
      const { mailbox, where } = await newest(ground, random, 1);
      const key = random.pick(added);
      const copy = await ground.copy('outcome', where);
      await ground.sql(`UPDATE ${copy} SET action_seal = 'added'; INSERT INTO outcome (mailbox_id, folder_epoch, uid, ${otherColumns})
        SELECT ${key}, ${otherColumns} FROM ${copy}`);
      const sight = isReadSince(mailbox.name);
      await touch(ground, mailbox);
      return {
        ...{ visible: sight, what: `an outcome (${key}) beside one of ${mailbox.name}` },
        undo: async () => {
          await ground.sql(`DELETE FROM outcome WHERE action_seal = 'added'`);
          ground.giveBack(mailbox);
        },
      };
    },
  },
  {
    ...{ name: 'outcomes forged', layer: 'outcome', seconds: [15, 20] },
    visibleBy: 'mailbox.outcome_replaced, or reconcile fails',
    make: forgeOutcomes,
  },
  {
    ...{ name: 'other messages before', layer: 'outcome', seconds: [8, 14] },
    // A quiet folder is not compared at each session.
    visibleBy: 'folder.restored_from_backup, or read as before',
    make: async (ground, random) => {
      const { mailbox, where } = await newest(ground, random, 5);
      const copy = await ground.copy('outcome', where);
      const sight = isLogged(ground, 'folder.restored_from_backup', mailbox.name);
      await ground.sql(`UPDATE outcome SET size_bytes = size_bytes + 1, received_at = received_at - INTERVAL 1 DAY
        WHERE ${where}`);
      const isRead = isReadSince(mailbox.name);
      await touch(ground, mailbox);
      return {
        visible: (seen) => anyOf(sight(seen), isRead(seen)),
        ...{ what: `sizes and times of the last outcomes of ${mailbox.name}` },
        undo: () => restored(ground, mailbox, copy),
      };
    },
  },
];

/** Rows of messages that are still to come, as if they were handled. */
async function forgeOutcomes(ground: Ground, random: SeededRandom): Promise<Made> {
  const { mailbox } = await newest(ground, random, 1);
  const outcome = random.pick(['ticket_opened', 'duplicate', 'quarantined', 'vanished', 'nonsense']);
  const sight = isLogged(ground, 'mailbox.outcome_replaced', mailbox.name);
  await ground.sql(`INSERT IGNORE INTO outcome (mailbox_id, folder_epoch, uid, outcome, reason, size_bytes, action_pending,
      created_at) SELECT mailbox_id, cursor_folder_epoch, cursor_uid + seq, '${outcome}', 'forged', 1, 0, '2026-01-01'
    FROM mailbox_state, seq_1_to_5 WHERE mailbox_id = '${mailbox.id}'`);
  const reconciled = commandSays(ground, ['reconcile'], /beyond the cursor/);
  return {
    what: `five outcomes ${outcome} of messages to come of ${mailbox.name}`,
    visible: (seen) => anyOf(sight(seen), reconciled.visible(seen)),
    undo: async () => {
      reconciled.stop();
      await ground.sql(`DELETE FROM outcome WHERE mailbox_id = '${mailbox.id}' AND reason = 'forged'`);
      ground.giveBack(mailbox);
    },
  };
}
