/**
 * Names of admins: what one may be, and how one is written into the audit.
 */
import type { AuditEntry } from '../encryption/ports.ts';
import type { Author } from '../ingest/model.ts';

/** Who is named where there is no account: people type passwords into the field of a name. */
const stranger = 'somebody';

/** 1 to 64 printable characters (Unicode scalar values), no space but U+0020 within, no `-` first; not the word for strangers. */
export function isAdminName(name: string): boolean {
  return (
    /^(?![ -])[\p{L}\p{M}\p{N}\p{P}\p{S} ]{1,64}(?<! )$/u.test(name) &&
    name === name.normalize('NFC') &&
    name.toLowerCase() !== stranger
  );
}

/** The `who` of an audit row about something that was done, or tried, on the page. `name` null: nobody with an account. */
export function whoOnPage(name: string | null): string {
  return `${name ?? stranger} (admin page)`;
}

/** An audit row about accounts and the page itself. `detail`: never what a stranger typed. */
export function adminAudit(author: Author, action: `admin.${string}`, detail: string | null): AuditEntry {
  return { ...author, action, keyId: null, nextKeyId: null, mailboxId: null, detail };
}
