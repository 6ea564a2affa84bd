/** `mailbox set-addresses`: at which addresses a mailbox gets its mail. */
import { type CommonOptions, type Context, withApp } from './context.ts';
import { readAddresses } from './mailbox-options.ts';

/** In place of those before; without any the user name counts again, where it is an address. Throws `not_found`, `usage`. */
export async function setMailboxAddresses(
  options: CommonOptions & { readonly name: string; readonly addresses: readonly string[] },
  context: Context,
): Promise<number> {
  const addresses = readAddresses(options.addresses);
  return await withApp(options, context, async (app) => {
    const { id, name } = await app.store.mailboxByName(options.name);
    await app.store.setAddresses(id, addresses);
    const now = (await app.store.mailboxById(id))?.addresses ?? [];
    await context.terminal.line(now.length === 0 ? `${name} has no address` : `${name} gets mail at ${now.join(', ')}`);
    return 0;
  });
}
