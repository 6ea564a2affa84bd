/**
 * Names of mails in quarantine: `NAME/UIDVALIDITY/UID`, where `UIDVALIDITY.LIFE` is a folder that was set back; and
 * `NAME/UID` where that is enough. A mailbox name may have slashes itself.
 */
import { numberingText, readNumbering } from './numbering.ts';
import type { HeldMail } from './quarantine-ports.ts';

/** One way to read an id. `numbering` null: any. */
export type HeldName = { readonly mailbox: string; readonly numbering: number | null; readonly uid: number };

export function heldId({ mailbox, numbering, uid }: Pick<HeldMail, 'mailbox' | 'numbering' | 'uid'>): string {
  return `${mailbox}/${numberingText(numbering)}/${uid}`;
}

/** All that `id` may name, the longer form first; none for what is no id. */
export function readHeldId(id: string): readonly HeldName[] {
  const parts = id.split('/');
  const last = parts.at(-1) ?? '';
  if (!/^[1-9]\d{0,9}$/u.test(last)) return [];
  const uid = Number(last);
  const numbering = readNumbering(parts.at(-2) ?? '');
  const long = numbering === null ? [] : [{ mailbox: parts.slice(0, -2).join('/'), numbering, uid }];
  return [...long, { mailbox: parts.slice(0, -1).join('/'), numbering: null, uid }].filter(
    ({ mailbox }) => mailbox !== '',
  );
}
