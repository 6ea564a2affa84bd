/** Nights of key file, passphrase and encryption switch. */
import type { Night, Undo } from '../night.ts';
import { dataDir, type Stand } from '../stand.ts';

const key = (night: Omit<Night, 'group'>): Night => ({ group: 'keys', ...night });

const keyFile = `${dataDir}/encryption-key.bin`;
const credential = '/etc/credstore.encrypted/ticketmaild-key-passphrase';
const passphrase = 'Drei-Birnen-7';
const hide = (path: string) => `mv ${path} /root/aside`;
const putBack = (path: string) => `mv /root/aside ${path}`;
const restart = 'systemctl restart ticketmaild';

function script(make: string, undo: string): Night['make'] {
  return async ({ stand }) => {
    await stand.machine.get(make);
    return () => stand.machine.get(undo);
  };
}

async function protectKey({ machine, command }: Stand): Promise<Undo> {
  const encrypt = `systemd-creds encrypt --name=ticketmaild-key-passphrase - ${credential}`;
  await machine.get(`printf ${passphrase} | ${encrypt} && ${restart}`);
  await command('key protect --passphrase-stdin', passphrase);
  return async () => {
    await command('key unprotect');
    await machine.get(`rm ${credential} && ${restart}`);
  };
}

const columns = ['state', 'key_id', 'next_key_id', 'revision', 'seal', 'changed_at', 'changed_by'].join(', ');

/** A rotation, and then the row from before it. */
async function rollSwitchBack({ mariadb, database, command }: Stand): Promise<Undo> {
  const keep = (table: string) =>
    mariadb.query(`CREATE OR REPLACE TABLE ${database}.${table} AS SELECT * FROM ${database}.encryption_switch`);
  const put = (table: string) =>
    mariadb.query(
      `UPDATE ${database}.encryption_switch SET ${columns
        .split(', ')
        .map((name) => `${name} = (SELECT ${name} FROM ${database}.${table})`)
        .join(', ')}`,
    );
  await keep('night_before');
  await command('encryption rotate');
  await keep('night_after');
  await put('night_before');
  return async () => {
    await put('night_after');
    await mariadb.query(`DROP TABLE ${database}.night_before, ${database}.night_after`);
  };
}

export const keyNights: readonly Night[] = [
  key({
    ...{ name: 'key file removed', faultS: 20, shows: /^check vault/ },
    make: script(hide(keyFile), putBack(keyFile)),
  }),
  key({
    ...{ name: 'key file open to others', faultS: 20, shows: /^check vault/ },
    make: script(`chmod 644 ${keyFile}`, `chmod 600 ${keyFile}`),
  }),
  key({
    ...{ name: 'key file missing at a restart', faultS: 30, shows: /^check vault/ },
    make: script(`${hide(keyFile)} && ${restart}`, putBack(keyFile)),
  }),
  key({
    ...{ name: 'passphrase missing at a restart', faultS: 30, shows: /^check vault/ },
    prepare: protectKey,
    make: script(`${hide(credential)} && ${restart}`, `${putBack(credential)} && ${restart}`),
  }),
  key({
    ...{ name: 'encryption switch rolled back', faultS: 20, shows: /^check switch/ },
    make: ({ stand }) => rollSwitchBack(stand),
  }),
];
