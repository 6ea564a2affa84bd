/**
 * `encryption replace-lost-key`: a new key where the old one is lost for good, and what was sealed under it with it.
 *
 * The last resort, so a person says that the passwords may be given up, at the terminal or with an option. Everything
 * else goes on: mailboxes wait until their passwords are set anew.
 */

import { backupAdvice, counted } from '../encryption/help.ts';
import { replaceLostKey } from '../encryption/operations/replace-lost-key.ts';
import { type Context, withApp } from './context.ts';
import { operationOptions, runOperation, sayer, type WaitOptions } from './encryption-operation.ts';

export type ReplaceOptions = WaitOptions & { readonly acceptPasswordLoss?: boolean };

const question = 'Give up every password that is sealed under the lost key? Each then has to be set anew.';

/** Throws `usage`, `refused` while the key is held somewhere, `workers_lack_key`, `operation_running`. */
export async function replaceKey(options: ReplaceOptions, context: Context): Promise<number> {
  const how = operationOptions(options, context);
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const sure =
      options.acceptPasswordLoss === true ||
      (await terminal.confirm(question, 'Acknowledge it with --accept-password-loss.'));
    if (!sure) {
      terminal.note('Nothing was changed.');
      return 1;
    }
    const done = await runOperation(app, context, 'looking', (ports) => replaceLostKey(ports, how));
    const { keyId, lostKeyId, lost, setAside } = done;
    if (options.json === true)
      await terminal.json({ state: 'on', key_id: keyId, lost_key_id: lostKeyId, lost, set_aside: setAside });
    else await terminal.line(`a new key is in use; ${counted(lost, 'password')} under the lost one`, 'green');
    const say = sayer(options, terminal);
    await say(`key       ${keyId}`);
    await say(`lost      ${lostKeyId}`);
    if (setAside !== null) await say(`what was at its place: ${setAside}`);
    await say('Set each password anew: ticketmaild mailbox set-password NAME. Until then its mailbox waits.');
    await say('It asks whether the server is yours (in a script: --accept-connection).');
    for (const line of backupAdvice(options.config ?? null)) await say(line);
    return 0;
  });
}
