/**
 * `encryption enable`: explains, asks for two acknowledgements, then makes a key file and seals every password.
 *
 * Off a terminal both acknowledgements are options, and without them nothing is touched. Interrupted anywhere, it goes on
 * where it was when it is run again.
 */

import { backupAdvice, counted, explanation, leftovers, questions } from '../encryption/help.ts';
import { enable } from '../encryption/operations/enable.ts';
import { Failure } from '../errors.ts';
import { type Context, migrateFirst, withApp } from './context.ts';
import { operationOptions, runOperation, sayer, type WaitOptions } from './encryption-operation.ts';

export type EnableOptions = WaitOptions & { readonly acceptKeyLoss?: boolean; readonly backupPrepared?: boolean };

/** Throws `usage` for a missing acknowledgement, `workers_lack_key`, `operation_running`, and all that sealing throws. */
export async function enableEncryption(options: EnableOptions, context: Context): Promise<number> {
  const how = operationOptions(options, context);
  if (!context.isAttended) requireFlags(options);
  return await withApp(options, context, async (app, config) => {
    const keyFile = app.keyFile.path;
    if (!(await acknowledged(options, context, explanation(keyFile, config.database)))) {
      context.terminal.note('Nothing was changed.');
      return 1;
    }
    await migrateFirst(app, config);
    const done = await runOperation(app, context, 'sealing passwords', (ports) => enable(ports, how));
    const { terminal } = context;
    if (options.json === true) await terminal.json(enabledJson(done, keyFile));
    else await terminal.line(`encryption is ${done.wasOn ? 'on, as it was' : 'on'}`, 'green');
    const say = sayer(options, terminal);
    const made = done.createdKeyFile ? 'made now' : 'it was there';
    await say(`sealed    ${counted(done.sealed, 'password')}`);
    await say(`key       ${done.keyId}`);
    await say(`key file  ${keyFile} (${made})`);
    for (const line of [...backupAdvice(options.config ?? null), ...leftovers(config.database, options.config ?? null)])
      await say(line);
    return 0;
  });
}

function enabledJson(done: Awaited<ReturnType<typeof enable>>, keyFile: string): Record<string, unknown> {
  return {
    state: 'on',
    key_id: done.keyId,
    key_file: keyFile,
    created_key_file: done.createdKeyFile,
    sealed: done.sealed,
    was_on: done.wasOn,
  };
}

function missingFlags({ acceptKeyLoss, backupPrepared }: EnableOptions): readonly string[] {
  return [
    ...(acceptKeyLoss === true ? [] : ['--accept-key-loss']),
    ...(backupPrepared === true ? [] : ['--backup-prepared']),
  ];
}

function requireFlags(options: EnableOptions): void {
  const missing = missingFlags(options);
  if (missing.length === 0) return;
  throw new Failure('usage', `missing: ${missing.join(', ')}`, {
    hint: 'Both are acknowledgements, see encryption enable --help; at a terminal they are asked for.',
  });
}

async function acknowledged(
  options: EnableOptions,
  { terminal }: Context,
  explained: readonly string[],
): Promise<boolean> {
  const missing = missingFlags(options);
  if (missing.length === 0) return true;
  for (const line of explained) terminal.note(line);
  const asked = [
    ['--accept-key-loss', questions.keyLoss],
    ['--backup-prepared', questions.backup],
  ] as const;
  for (const [flag, question] of asked) {
    if (missing.includes(flag) && !(await terminal.confirm(question, `Acknowledge it with ${flag}.`))) return false;
  }
  return true;
}
