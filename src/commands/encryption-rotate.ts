/**
 * `encryption rotate` and `reseal`: every password under a new key, or every password under the key in use.
 *
 * Workers that run go on logging in meanwhile. A password that cannot be opened keeps nobody from the others: it is told,
 * its key is kept, and the exit code is 1.
 */

import { backupAdvice, counted } from '../encryption/help.ts';
import { reseal, rotate } from '../encryption/operations/rotate.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { operationOptions, runOperation, sayer, tellUnopened, type WaitOptions } from './encryption-operation.ts';

/** Throws `workers_lack_key`, `operation_running`, `refused` while encryption is off, `key_file_*`. */
export async function rotateKey(options: WaitOptions, context: Context): Promise<number> {
  const how = operationOptions(options, context);
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const done = await runOperation(app, context, 'resealing passwords', (ports) => rotate(ports, how));
    const { keyId, formerKeyId, resealed, unopened, formerKept } = done;
    if (options.json === true) {
      const keys = { key_id: keyId, former_key_id: formerKeyId, former_kept: formerKept };
      await terminal.json({ state: 'on', ...keys, key_file: app.keyFile.path, resealed, unopened });
    } else await terminal.line(`${counted(resealed, 'password')} resealed`, 'green');
    const say = sayer(options, terminal);
    await say(`key       ${keyId}`);
    await say(`former    ${formerKeyId}, ${formerKept ? 'still' : 'no longer'} in the key file`);
    await say(`key file  ${app.keyFile.path}`);
    await say('A backup of the key file from before does not hold the new key. Backups of the database from before');
    await say(`need the former one, ${formerKeyId}: keep its backup as long as you keep those.`);
    for (const line of backupAdvice(options.config ?? null).slice(0, -1)) await say(line);
    tellUnopened(unopened, context);
    return unopened.length === 0 ? 0 : 1;
  });
}

/** Throws `operation_running`, `refused` while encryption is off, `key_file_*`. */
export async function resealPasswords(options: CommonOptions, context: Context): Promise<number> {
  const how = operationOptions(options, context);
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const done = await runOperation(app, context, 'resealing passwords', (ports) => reseal(ports, how));
    const { keyId, resealed, sealed, unopened, droppedKeyIds } = done;
    if (options.json === true)
      await terminal.json({ state: 'on', key_id: keyId, resealed, sealed, unopened, dropped_key_ids: droppedKeyIds });
    else {
      await terminal.line(
        `${resealed} resealed, ${sealed} that stood readable sealed, all under key ${keyId}`,
        'green',
      );
      if (droppedKeyIds.length > 0) await terminal.line(`dropped from the key file: ${droppedKeyIds.join(', ')}`);
    }
    tellUnopened(unopened, context);
    return unopened.length === 0 ? 0 : 1;
  });
}
