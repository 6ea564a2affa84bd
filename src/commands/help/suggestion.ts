/**
 * Spelling suggestions ("did you mean") for names of mailboxes, hosts, tickets, admins and grants that do not exist.
 *
 * The names come from the database: one that cannot be shown safely is not suggested.
 */

import type { App } from '../../compose/compose.ts';
import { Failure, isFailure } from '../../errors.ts';
import { shellArgOrNotice } from '../../text/shell.ts';
import { nearestWord } from '../../text/spelling.ts';

const ticketsMax = 1000;

type Names = (app: App) => Promise<readonly string[]>;

/** By the field of the failure that has the name. */
const namesByField: Readonly<Record<string, Names>> = {
  mailbox: async ({ store }) => (await store.listMailboxes()).map(({ name }) => name),
  host: async ({ store }) => (await store.listMailboxes()).map(({ connection }) => connection.host),
  ticket: async ({ store }) => (await store.listTickets(ticketsMax)).map(({ ref }) => ref),
  admin: async ({ store }) => (await store.listAccounts()).map(({ name }) => name),
  grant: async ({ store, oauth }) => [...oauth.providers(), ...(await store.listGrants())].map(({ name }) => name),
};

/** The error itself, or one whose hint begins with the nearest name. Never throws. */
export async function withSuggestion(error: unknown, app: App): Promise<unknown> {
  if (!isFailure(error, 'not_found')) return error;
  try {
    for (const [field, names] of Object.entries(namesByField)) {
      const name = error.fields[field];
      if (typeof name === 'string') return suggesting(error, name, await names(app));
    }
  } catch {
    // The first failure is the one to report.
  }
  return error;
}

/** The failure with "Did you mean X?" before its hint, where one of `names` is near enough. */
function suggesting(failure: Failure, name: string, names: readonly string[]): Failure {
  const near = names.includes(name) ? null : nearestWord(name, names.filter(isShowable));
  if (near === null) return failure;
  const { code, message, fields, hint, cause } = failure;
  return new Failure(code, message, { fields, cause, hint: `Did you mean ${shellArgOrNotice(near)}? ${hint}` });
}

const lengthMax = 100;

function isShowable(name: string): boolean {
  return name.length <= lengthMax && !/[\p{C}\p{Zl}\p{Zp}\ufffd]/u.test(name);
}

/** For commands that look a mailbox up in the list of all. */
export function noMailbox(name: string): never {
  throw new Failure('not_found', `There is no mailbox named ${JSON.stringify(name)}.`, {
    fields: { mailbox: name },
    hint: 'See ticketmaild mailbox list.',
  });
}
