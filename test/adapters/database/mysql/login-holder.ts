/**
 * Process that logs in 20 times with the whole password, then idles, for a search of its memory.
 *
 * Arguments: the password in hex, so that it occurs nowhere in clear; socket path or port; the pinned key or `-`. With
 * a fourth argument, `kept`, the password is not wiped: the search must find it then.
 */
import { openDatabase } from '../../../../src/adapters/database/database.ts';
import { SecretBytes } from '../../../../src/secret/secret-bytes.ts';
import type { MysqlConfig } from '../../../support/servers/mariadb.ts';

const [, , hex = '', address = '', serverKey = '-', isKept] = process.argv;
const given = Buffer.from(new ArrayBuffer(4096), 0, hex.length / 2);
given.write(hex, 'hex');
const password = SecretBytes.take(given);
const isSocket = address.startsWith('/');
const config: MysqlConfig = {
  ...{ kind: 'mysql', user: 'app', password, database: 'helpdesk_mail', tls: 'off', caPem: null, connectionsMax: 1 },
  hosts: [{ host: '127.0.0.1', port: isSocket ? 3306 : Number(address) }],
  socketPath: isSocket ? address : null,
  fingerprint: null,
  serverKeyPem: serverKey === '-' ? null : serverKey,
};
for (let count = 0; count < 20; count += 1) {
  await using db = await openDatabase(config);
  await db.ping();
}
if (isKept === undefined) password.wipe();
process.stdout.write('done\n');
setInterval(() => password.length, 1_000_000);
