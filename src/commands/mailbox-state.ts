/**
 * `mailbox pause`, `resume`, `remove` and `set-password`: each changes one mailbox, found by its name.
 */
import { type CommonOptions, type Context, withApp } from './context.ts';
import { newPassword } from './mailbox-add.ts';

type NameOptions = CommonOptions & { readonly name: string };

/** The running daemon leaves the mailbox alone from its next poll on. Throws `not_found`. */
export function pauseMailbox(options: NameOptions, context: Context): Promise<number> {
  return setState(options, context, 'paused', 'paused');
}

/** The mailbox is due at once. Throws `not_found`. */
export function resumeMailbox(options: NameOptions, context: Context): Promise<number> {
  return setState(options, context, 'active', 'resumed');
}

async function setState(
  options: NameOptions,
  context: Context,
  state: 'active' | 'paused',
  told: string,
): Promise<number> {
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.name);
    await app.store.setMailboxState(mailbox.id, state);
    await context.terminal.line(`${told} ${mailbox.name}`);
    return 0;
  });
}

/** Asks first, unless told `--yes`. Tickets and messages stay. Throws `not_found`, `usage`. */
export async function removeMailbox(options: NameOptions & { yes?: boolean }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.name);
    const question = `Remove ${mailbox.name} with its password and cursor (its tickets stay)?`;
    const sure = options.yes === true || (await terminal.confirm(question, 'Say that you are sure with --yes.'));
    if (sure) await app.store.removeMailbox(mailbox.id);
    await terminal.line(sure ? `removed ${mailbox.name}` : `kept ${mailbox.name}`);
    return sure ? 0 : 1;
  });
}

/** Stores another password; the mailbox is due at once. Throws `not_found`, `password_missing`. */
export async function setMailboxPassword(
  options: NameOptions & { passwordStdin?: boolean },
  context: Context,
): Promise<number> {
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.name);
    using password = await newPassword(options, mailbox, context);
    await app.store.setPassword(mailbox.id, password);
    await context.terminal.line(`set the password of ${mailbox.name}; try it with: ticketmaild mailbox test`);
    return 0;
  });
}
