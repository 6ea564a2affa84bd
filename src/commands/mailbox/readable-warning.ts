/**
 * Warning about a secret at rest in plain text: the password of a mailbox, or the refresh token of its grant, while
 * encryption is off.
 *
 * A mailbox whose provider issues tokens to the application itself has neither. While an operation enables or disables
 * encryption, its own texts apply.
 */
import type { App } from '../../compose/compose.ts';
import { commandLine } from '../../encryption/help.ts';
import type { Mailbox } from '../../ingest/model.ts';
import { nameText } from '../../ingest/settings-text.ts';
import { asRunHere } from '../../text/program-name.ts';
import type { CommonOptions, Context } from '../context.ts';

type Subject = Pick<Mailbox, 'name' | 'grant'>;

/** The statement names the mailbox, the remedy is a command. */
export type ReadableWarning = { readonly statement: string; readonly remedy: string };

/** null: nothing is readable. Fails with `database_*`. */
export async function readableWarning(
  app: App,
  mailbox: Subject,
  { config }: CommonOptions,
): Promise<ReadableWarning | null> {
  const { switch: inForce } = await app.vault.refresh();
  const secret = inForce.state === 'off' ? await storedSecret(app, mailbox) : null;
  if (secret === null) return null;
  const command = commandLine('encryption enable', config ?? null);
  const statement = `encryption is off, so ${secret} is readable in the database.`;
  return { statement, remedy: `To seal it: ${command}` };
}

async function storedSecret({ store, oauth }: App, { name, grant }: Subject): Promise<string | null> {
  if (grant === null) return `the password of ${nameText(name)}`;
  const stored = await store.grantByName(grant);
  const provider = oauth.providers().find((one) => one.name === stored?.provider);
  return provider?.flow === 'person' ? `the refresh token of grant ${nameText(grant)}` : null;
}

export function noteWarning({ terminal }: Pick<Context, 'terminal'>, warning: ReadableWarning | null): void {
  if (warning === null) return;
  terminal.note(`warning: ${warning.statement} ${asRunHere(warning.remedy)}`, 'yellow');
}

/** For `--json`. */
export function warningTexts(warning: ReadableWarning | null): readonly string[] {
  return warning === null ? [] : [`${warning.statement} ${warning.remedy}`];
}
