/**
 * A writer of MariaDB copies the row of a failing `disable` by a trigger into a table without transactions, and puts it
 * in under a running daemon, with a row of the page that says it runs: the passwords stay sealed.
 */
import { access } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { enabled, openSetting } from '../../support/encryption-setting.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import { named } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

test.for([
  ['only that row', `NEW.state = 'disabling'`],
  ['every row', 'NEW.revision <> OLD.revision'],
] as const)('the database refuses %s', async ([, refused]) => {
  await using setting = await openSetting(mariadb, dovecot);
  const { database } = setting;
  await enabled(setting);
  await using daemon = setting.start();
  await daemon.waitFor(named('http.listening'));
  const sql = (text: string) => mariadb.query(`use ${database}; ${text}`);
  await sql(
    `create table loot engine=MyISAM as select * from encryption_switch where 0;
     delimiter //
     create trigger cap before update on encryption_switch for each row begin
       if ${refused} then
         if NEW.state = 'disabling' then
           insert into loot (id, state, key_id, next_key_id, revision, seal, changed_at, changed_by, password_writes)
           values (NEW.id, NEW.state, NEW.key_id, NEW.next_key_id, NEW.revision, NEW.seal, NEW.changed_at,
             NEW.changed_by, 0);
         end if;
         signal sqlstate '45000' set message_text = 'no';
       end if;
     end//
     delimiter ;`,
  );
  const failed = await setting.command(['encryption', 'disable', '--yes']);
  expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('is withdrawn') });
  await sql('drop trigger cap');
  await until('a copy', async () => (await sql('select count(*) from loot')).includes('1'));
  const operation = `insert into admin_operation (id, number, kind, started_by, started_at, worker, state, detail)
    values (1, 1, 'disable', 'x', utc_timestamp(3), 'dead', 'running', '{}')`;
  for (let times = 0; times < 3; times += 1) {
    await sql(
      `update encryption_switch s join loot l on s.id = l.id set s.state = l.state, s.key_id = l.key_id,
         s.next_key_id = l.next_key_id, s.revision = l.revision, s.seal = l.seal, s.changed_at = l.changed_at,
         s.changed_by = l.changed_by; ${times === 0 ? operation : ''}`,
    );
    await new Promise((resolve) => setTimeout(resolve, 2500));
  }
  const states = daemon.lines.filter(named('switch.changed')).map((line) => line['state']);
  expect(new Set(states)).toEqual(new Set(['on']));
  expect(await sql('select password_form from mailboxes')).toContain('sealed');
  await access(setting.keyFile);
  // What the database refused with it is written as soon as it takes a row again.
  if (refused.includes('revision')) expect(daemon.lines.some(named('switch.renewed'))).toBe(true);
});
