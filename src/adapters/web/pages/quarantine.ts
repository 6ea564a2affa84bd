/**
 * Mails in quarantine: why each is kept aside, what that means and what helps, with requeue, release and discard.
 *
 * Sender and subject were written by strangers: any length, any direction, any character; they stay in their own place.
 */
import type { QuarantinedLine, QuarantineView, ReasonLine } from '../../../admin/service.ts';
import { noCommandNotice, shellCommand } from '../../../text/shell.ts';
import {
  code,
  command,
  confirm,
  counted,
  foreign,
  number,
  pager,
  postForm,
  reasonName,
  size,
  timeUtc,
} from './components.ts';
import type { Frame } from './layout.ts';
import { layout, type Markup, markup, nothing } from './layout.ts';

export function quarantinePage(frame: Frame, view: QuarantineView): string {
  const { messages: mails } = view;
  const main = markup`<div class="head"><h1>Quarantine</h1><p class="asof">Times in UTC</p></div>
<p class="lead">Mails that are kept aside instead of becoming tickets, each with its reason. Nothing is lost: they wait until somebody decides.</p>
${view.reasons.length === 0 ? nothing : reasons(view)}
${mails.list.length === 0 ? none(view) : list(frame, view)}`;
  return layout(frame, { title: 'Quarantine', place: 'quarantine', main });
}

function address(reason: string | null): string {
  return reason === null ? '/admin/quarantine?' : `/admin/quarantine?${new URLSearchParams({ reason })}&`;
}

function none({ query }: QuarantineView): Markup {
  const text =
    query.reason === null
      ? markup`<p>Quarantine is empty: every mail became what it should.</p>`
      : markup`<p>No mail is here as ${reasonName(query.reason)}. <a href="/admin/quarantine">Show all</a></p>`;
  return markup`<section class="card plain">${text}</section>`;
}

function reasons({ reasons: all, query }: QuarantineView): Markup {
  const total = all.reduce((sum, { count }) => sum + count, 0);
  const rows = all.map((one) => {
    const isChosen = one.reason === query.reason;
    return markup`<li${isChosen ? markup` class="chosen"` : nothing}>${choice(one.reason, reasonName(one.reason), one.count, isChosen)}<p>${one.meaning}</p><p class="hint">${one.hint}</p></li>`;
  });
  return markup`<section class="card plain"><div class="cardhead"><h2>Reasons</h2><span class="choice">${choice(null, 'All reasons', total, query.reason === null)}</span></div><ul class="meanings">${rows}</ul>
<dl class="ways"><div><dt>Requeue</dt><dd>handles the mail again, by the same rules: for when the cause is gone.</dd></div><div><dt>Release</dt><dd>takes it in as it is, although the rule speaks against it.</dd></div><div><dt>Discard</dt><dd>makes no ticket of it.</dd></div></dl></section>`;
}

function choice(reason: string | null, text: Markup | string, count: number, isChosen: boolean): Markup {
  const mark = isChosen ? markup` aria-current="true"` : nothing;
  return markup`<a href="${address(reason).slice(0, -1)}"${mark}>${text} <b>${number(count)}</b></a>`;
}

function list(frame: Frame, { messages: mails, query, reasons: all }: QuarantineView): Markup {
  const place = { page: `${mails.page}`, ...(query.reason === null ? {} : { reason: query.reason }) };
  const rows = mails.list.map((mail) => item(frame, mail, all, place));
  return markup`<section class="card plain"><div class="cardhead"><h2>Mails</h2><span class="soft">${counted(mails.total, 'mail')}${query.reason === null ? '' : markup` as ${reasonName(query.reason)}`}</span></div><ul class="held">${rows}</ul>
<div class="cardfoot">${pager('Pages of mails', mails.page, mails.pages, address(query.reason))}</div></section>`;
}

function item(frame: Frame, mail: QuarantinedLine, all: readonly ReasonLine[], place: ListPosition): Markup {
  const { subject, from } = mail;
  const meaning = all.find(({ reason }) => reason === mail.reason)?.meaning ?? null;
  const title = subject === null ? markup`<span class="soft">Subject not kept</span>` : subjectOf(subject);
  return markup`<li><div class="mail"><h3>${title}</h3><p class="from">${from === null ? markup`<span class="soft">Sender not kept</span>` : markup`<span class="soft">from</span> ${foreign(from, 200)}`}</p>
<p class="why"><span class="badge warn">${reasonName(mail.reason)}</span>${meaning === null ? '' : ` ${meaning}`}</p>
<p class="soft">In <bdi>${mail.mailbox}</bdi> since ${timeUtc(mail.sinceMs)}, ${size(mail.sizeBytes)}, id ${code(mail.id)}</p></div>${acts(frame, mail, place)}</li>
`;
}

function subjectOf(subject: string): Markup {
  return subject.trim() === '' ? markup`<span class="soft">Without a subject</span>` : foreign(subject);
}

/** The part of the list that is shown, where a form leads back to. */
type ListPosition = Readonly<Record<string, string>>;

function acts(frame: Frame, { id, subject }: QuarantinedLine, place: ListPosition): Markup {
  const of = markup`<span class="unseen">: ${foreign(subject ?? id, 60)}</span>`;
  const button = (way: string, text: string, style: string): Markup =>
    postForm(frame, 'quarantine/settle', markup`<button type="submit" class="${style}">${text}${of}</button>`, {
      id,
      way,
      ...place,
    });
  const asked = markup`<p>It becomes no ticket. As long as it is kept, this brings it back, on the host:</p>${bringsBack(id)}${button('discard', 'Discard It', 'danger')}`;
  return markup`<div class="acts">${button('requeue', 'Requeue', 'plain')}${button('release', 'Release', 'plain')}${confirm('Discard…', asked, true)}</div>`;
}

/** The id begins with the name of the mailbox, which may hold anything. */
function bringsBack(id: string): Markup {
  const line = shellCommand('quarantine release', id);
  return line === null
    ? markup`<p class="hint">quarantine release, with its id; ${noCommandNotice}.</p>`
    : command(line);
}
