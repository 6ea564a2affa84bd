/** Changes of `encryption_switch`; undone by the row as it was, or by `encryption trust-restored`, as the hint says. */
import { badCheck } from '../kinds.ts';
import { copies, type RowChange } from './change.ts';
import { plainPassword } from './passwords.ts';
import { isLogged } from './signs.ts';

const forged: readonly string[] = [
  `UPDATE encryption_switch SET state = 'off', key_id = NULL, next_key_id = NULL`,
  `UPDATE encryption_switch SET state = 'off', key_id = NULL, next_key_id = NULL, seal = NULL, revision = revision + 1`,
  `UPDATE encryption_switch SET revision = revision + 1`,
  'UPDATE encryption_switch SET revision = 1125899906842625',
  'UPDATE encryption_switch SET revision = 9007199254740991',
  'UPDATE encryption_switch SET seal = NULL',
  `UPDATE encryption_switch SET seal = ''`,
  'UPDATE encryption_switch SET seal = LEFT(seal, 40)',
  `UPDATE encryption_switch SET seal = CONCAT(key_id, ':', REPEAT('0', 64))`,
  `UPDATE encryption_switch SET key_id = REPEAT('f', 16)`,
  `UPDATE encryption_switch SET next_key_id = REPEAT('f', 16)`,
  `UPDATE encryption_switch SET key_id = REPEAT('f', 16), seal = CONCAT(REPEAT('f', 16), ':', REPEAT('0', 64)), revision = revision + 1`,
  `UPDATE encryption_switch SET state = ''`,
  `UPDATE encryption_switch SET state = 'disabling'`,
  `UPDATE encryption_switch SET state = '{"on'`,
  `UPDATE encryption_switch SET changed_by = REPEAT(CHAR(27), 255)`,
  `UPDATE encryption_switch SET changed_at = '0000-00-00'`,
  `UPDATE encryption_switch SET changed_at = '9999-12-31 23:59:59.999'`,
];

const rolledBack: readonly string[] = [
  'DELETE FROM encryption_switch',
  'DELETE FROM encryption_switch WHERE id = 2; UPDATE encryption_switch SET id = 2 WHERE id = 1',
  `UPDATE encryption_switch SET state = 'off', key_id = NULL, next_key_id = NULL, revision = 0, seal = NULL`,
  `REPLACE INTO encryption_switch SELECT * FROM ${copies}.encryption_switch ORDER BY revision LIMIT 1`,
  `REPLACE INTO encryption_switch SELECT * FROM ${copies}.encryption_switch WHERE revision < (SELECT revision FROM encryption_switch) ORDER BY RAND() LIMIT 1`,
  'UPDATE encryption_switch SET revision = revision - 1',
];

/** What the seal does not cover. */
const besides: readonly string[] = [
  `UPDATE encryption_switch SET operation_owner = 'mallory', operation_until = UTC_TIMESTAMP() + INTERVAL 9 MINUTE`,
  `UPDATE encryption_switch SET operation_owner = REPEAT('x', 255), operation_until = '9999-12-31'`,
  `UPDATE encryption_switch SET operation_owner = '', operation_until = '0000-00-00'`,
  'UPDATE encryption_switch SET password_writes = 18446744073709551615',
  'UPDATE encryption_switch SET password_writes = 9007199254740993',
  `INSERT INTO encryption_switch (id, state, revision, changed_at, changed_by) VALUES (0, 'off', 0, '2020-01-01', '')`,
];

function switchChange(name: string, choices: readonly string[]): RowChange {
  return {
    ...{ name, layer: 'switch', seconds: [3, 10], visibleBy: 'switch not ok' },
    make: async (ground, random) => {
      const statement = random.pick(choices);
      const isByCommand = random.chance(0.5);
      const copy = await ground.copy('encryption_switch', '1 = 1');
      await ground.sql(statement);
      return {
        ...{ visible: (seen) => badCheck(seen, 'switch'), what: statement.slice(0, 110) },
        undo: async () => {
          if (isByCommand) {
            await ground.succeed(['encryption', 'trust-restored', '--yes']);
            await ground.sql('DELETE FROM encryption_switch WHERE id = 2');
          } else await ground.sql(`DELETE FROM encryption_switch; INSERT INTO encryption_switch SELECT * FROM ${copy}`);
        },
      };
    },
  };
}

export const switchChanges: readonly RowChange[] = [
  switchChange('switch forged', forged),
  switchChange('switch rolled back', rolledBack),
  {
    ...{ name: 'switch beside its seal', layer: 'switch', seconds: [4, 10] },
    visibleBy: 'a plain password is sealed as before',
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const statement = random.pick(besides);
      const sight = isLogged(ground, 'passwords.sealed', null);
      await ground.sql(`${statement}; ${plainPassword(ground, mailbox)}`);
      return {
        ...{ visible: sight, what: statement.slice(0, 110) },
        undo: async () => {
          await ground.sql(`UPDATE encryption_switch SET operation_owner = NULL, operation_until = NULL WHERE id = 1;
            DELETE FROM encryption_switch WHERE id = 0`);
          ground.giveBack(mailbox);
        },
      };
    },
  },
];
