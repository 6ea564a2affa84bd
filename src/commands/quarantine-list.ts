/**
 * `quarantine list` and `quarantine show`: which mails wait in quarantine, why, and what helps.
 *
 * Sender and subject are read from what was kept, and are a stranger's: the terminal makes them printable.
 */
import type { App } from '../compose/compose.ts';
import { lifeOf, uidValidityOf } from '../ingest/folder-epoch.ts';
import { headOf, heldById, heldId } from '../ingest/quarantine/read.ts';
import { hasWholeSource, reasonMeaning } from '../ingest/quarantine/reasons.ts';
import type { HeldMail } from '../ingest/stores.ts';
import type { MailHead } from '../mail/mime/structured-fields.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { chosenMails, type SelectionOptions } from './quarantine-selection.ts';

const columns = [
  { title: 'ID' },
  { title: 'REASON' },
  { title: 'SINCE (UTC)' },
  { title: 'BYTES', align: 'right' as const },
  { title: 'FROM', shrinks: true },
  { title: 'SUBJECT', shrinks: true },
];
const rowsPerTable = 200;

/** Page by page, so that memory stays flat. Throws `not_found`. */
export async function listQuarantine(options: SelectionOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const reasons = new Set<string>();
    let page: (readonly string[])[] = [];
    for await (const mail of chosenMails(app, options)) {
      const head = await headOf(app.raw, mail);
      reasons.add(mail.reason);
      if (options.json === true) await terminal.json(heldJson(mail, head));
      else page.push(cells(mail, head));
      if (page.length < rowsPerTable) continue;
      await terminal.table(columns, page);
      page = [];
    }
    if (page.length > 0) await terminal.table(columns, page);
    if (options.json === true) return 0;
    if (reasons.size === 0)
      terminal.note(options.discarded === true ? 'Nothing was discarded.' : 'Nothing is in quarantine.');
    for (const reason of [...reasons].sort()) {
      const { meaning, hint } = reasonMeaning(reason);
      terminal.note(`${reason}: ${meaning} ${hint}`);
    }
    return 0;
  });
}

/** Throws `not_found`, `usage`. */
export async function showHeldMail(options: CommonOptions & { id: string }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mail = await heldById(app.store, options.id);
    const head = await headOf(app.raw, mail);
    if (options.json === true) await terminal.json(heldJson(mail, head));
    else for (const [name, text] of lines(mail, head)) await terminal.line(`${name.padEnd(10)}${text}`);
    return 0;
  });
}

function lines(mail: HeldMail, head: MailHead | null): readonly (readonly [name: string, text: string])[] {
  const { meaning, hint } = reasonMeaning(mail.reason);
  return [
    ['id', heldId(mail)],
    ['reason', mail.reason],
    ['meaning', meaning],
    ['hint', hint],
    ['since', shortTime(mail.sinceMs)],
    ...(mail.discardedAtMs === null ? [] : [['discarded', shortTime(mail.discardedAtMs)] as const]),
    ['received', mail.receivedAtMs === null ? 'unknown' : shortTime(mail.receivedAtMs)],
    ['size', `${mail.sizeBytes} bytes`],
    ['kept', keptTexts[keptOf(mail, head)]],
    ['from', head?.from ?? 'unknown'],
    ['subject', head?.subject ?? 'unknown'],
  ];
}

type Kept = 'whole' | 'header' | 'none' | 'elsewhere';

const keptTexts: Readonly<Record<Kept, string>> = {
  whole: 'the whole mail',
  header: 'its header alone; the mail is fetched from the server again',
  none: 'nothing; the mail is fetched from the server again',
  elsewhere: 'not on this machine; the mail is fetched from the server again',
};

function keptOf({ raw, reason }: HeldMail, head: MailHead | null): Kept {
  if (raw === null) return 'none';
  if (head === null) return 'elsewhere';
  return hasWholeSource(reason) ? 'whole' : 'header';
}

function cells(mail: HeldMail, head: MailHead | null): readonly string[] {
  const { reason, sinceMs, sizeBytes } = mail;
  return [heldId(mail), reason, shortTime(sinceMs), `${sizeBytes}`, head?.from ?? '', head?.subject ?? ''];
}

/** The field names are a promise to scripts. */
export function heldJson(mail: HeldMail, head: MailHead | null): Record<string, unknown> {
  const { meaning, hint } = reasonMeaning(mail.reason);
  return {
    id: heldId(mail),
    mailbox: mail.mailbox,
    uid_validity: uidValidityOf(mail.numbering),
    folder_life: lifeOf(mail.numbering),
    uid: mail.uid,
    reason: mail.reason,
    meaning,
    hint,
    since: isoTime(mail.sinceMs),
    discarded_at: isoTime(mail.discardedAtMs),
    received_at: isoTime(mail.receivedAtMs),
    size: mail.sizeBytes,
    kept: keptOf(mail, head),
    from: head?.from ?? null,
    sender: head === null || head.address === '' ? null : head.address,
    subject: head?.subject ?? null,
  };
}

/** What a mail in quarantine is called in a sentence. */
export async function heldText(app: App, mail: HeldMail): Promise<string> {
  const head = await headOf(app.raw, mail);
  const subject = head === null || head.subject === '' ? '' : ` ${JSON.stringify(head.subject)}`;
  return `${heldId(mail)} (${mail.reason})${subject}`;
}
