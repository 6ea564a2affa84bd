/**
 * `ticket show`: one ticket with its messages, oldest first.
 */
import type { StoredMessage } from '../ingest/rows.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { messageJson, personText, ticketJson } from './ticket-view.ts';
import { shortTime } from './times.ts';

/** Throws `not_found`. */
export async function showTicket(options: CommonOptions & { ref: string }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketByRef(options.ref);
    if (options.json === true) {
      await terminal.json({ ...ticketJson(ticket), messages: ticket.messages.map(messageJson) });
      return 0;
    }
    await terminal.line(`${ticket.ref}  ${ticket.subject}`, 'bold');
    await terminal.line(`${ticket.status}, opened ${shortTime(ticket.createdAtMs)} by ${personText(ticket.requester)}`);
    for (const message of ticket.messages) await showMessage(message, context);
    return 0;
  });
}

async function showMessage(message: StoredMessage, { terminal }: Context): Promise<void> {
  await terminal.line('');
  const kind = message.kind === 'human' ? '' : ` (${message.kind})`;
  await terminal.line(`${shortTime(message.receivedAtMs)}  ${personText(message.from)}${kind}`, 'bold');
  if (message.to.length > 0) await terminal.line(`to ${message.to.map(personText).join(', ')}`);
  await terminal.line(message.subject);
  await terminal.line('');
  await terminal.text(message.text.trimEnd());
  for (const { name, type, sizeBytes } of message.attachments)
    await terminal.line(`attachment: ${name} (${type}, ${sizeBytes} bytes)`);
}
