/**
 * `ticket attachment REF N --output FILE`: writes one attachment as a new file, readable by its owner alone.
 *
 * The name in the message is shown and never used as a path. The bytes are those whose SHA-256 the row has. With
 * `--output -` they go to standard output, never to a terminal, which would interpret untrusted bytes.
 */

import type { App } from '../../compose/compose.ts';
import { Failure } from '../../errors.ts';
import { type CommonOptions, type Context, type NewFile, withApp } from '../context.ts';
import { attachmentNumbers, referenceOf } from './ticket.ts';

type AttachmentOptions = CommonOptions & { readonly ref: string; readonly number: string; readonly output: string };

const standardOutput = '-';

/** Throws `usage`, `not_found`, `already_exists`, `source_refused`, `disk_*`. */
export async function saveAttachment(options: AttachmentOptions, context: Context): Promise<number> {
  const { output, number } = options;
  if (!/^[1-9]\d{0,6}$/.test(number))
    throw new Failure('usage', 'the number of an attachment is a whole number of 1 or more', {
      hint: 'ticket show prints the numbers.',
    });
  if (output === standardOutput && context.terminal.isInteractive)
    throw new Failure('usage', 'standard output is a terminal, which would interpret the bytes of the attachment', {
      hint: 'Give --output FILE, or a pipe.',
    });
  if (output === standardOutput) return await withApp(options, context, (app) => print(app, options, context));
  await using file = await context.createFile(output);
  return await withApp(options, context, (app) => save(app, options, file, context));
}

async function print(app: App, options: AttachmentOptions, { terminal }: Context): Promise<number> {
  await terminal.bytes((await read(app, options)).content);
  return 0;
}

async function save(app: App, options: AttachmentOptions, file: NewFile, { terminal }: Context): Promise<number> {
  const { name, content } = await read(app, options);
  await file.write(content);
  await terminal.line(`saved ${content.length} bytes as ${options.output} (in the message: ${name})`);
  return 0;
}

async function read(
  app: App,
  { ref, number }: AttachmentOptions,
): Promise<{ readonly name: string; readonly content: Uint8Array }> {
  const ticket = await app.store.ticketByRef(referenceOf(ref));
  const numbers = attachmentNumbers(ticket.messages);
  const found = [...numbers].find(([, one]) => `${one}` === number)?.[0];
  if (found === undefined)
    throw new Failure('not_found', `ticket ${ticket.ref} has no attachment ${number}, but ${numbers.size}`, {
      hint: 'ticket show prints their numbers and names.',
    });
  return { name: found.name, content: await app.blobs.read(found.sha256) };
}
