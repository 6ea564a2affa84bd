/**
 * Quarantine page: each message with its reason, the meaning and a hint, and the actions requeue, release and discard.
 *
 * Sender and subject are untrusted text of any length, direction and character.
 */
import type { QuarantinedLine, QuarantineView } from '../../../admin/service.ts';
import { noCommandNotice, shellCommand } from '../../../text/shell.ts';
import {
  code,
  command,
  confirmation,
  countOf,
  formatBytes,
  formatMegabytes,
  formatNumber,
  hintParagraph,
  pager,
  postForm,
  reasonName,
  timestampUtc,
  untrustedText,
} from './components.ts';
import type { Frame } from './layout.ts';
import { layout, type Markup, markup, nothing } from './layout.ts';

export function quarantinePage(frame: Frame, view: QuarantineView): string {
  const { messages } = view;
  const main = markup`<div class="head"><h1>Quarantine</h1></div>
<p class="lead">Messages that were put aside instead of becoming tickets, each with its reason. Nothing is lost: they wait for a decision.</p>
${view.reasons.length === 0 ? nothing : reasons(view)}
${messages.list.length === 0 ? none(view) : list(frame, view)}`;
  return layout(frame, { title: 'Quarantine', navigation: 'quarantine', main });
}

function address(reason: string | null): string {
  return reason === null ? '/admin/quarantine?' : `/admin/quarantine?${new URLSearchParams({ reason })}&`;
}

function none({ query }: QuarantineView): Markup {
  const text =
    query.reason === null
      ? markup`<p>Quarantine is empty.</p>`
      : markup`<p>No message is here as ${reasonName(query.reason)}. <a href="/admin/quarantine">Show all</a></p>`;
  return markup`<section class="card plain">${text}</section>`;
}

function reasons({ reasons: all, query }: QuarantineView): Markup {
  const total = all.reduce((sum, { count }) => sum + count, 0);
  const rows = all.map((one) => {
    const isChosen = one.reason === query.reason;
    return markup`<li${isChosen ? markup` class="chosen"` : nothing}>${choice(one.reason, reasonName(one.reason), one.count, isChosen)}<p>${one.meaning}</p>${hintParagraph(one.hint)}</li>`;
  });
  return markup`<section class="card plain"><div class="cardhead"><h2>Reasons</h2><span class="choice">${choice(null, 'All reasons', total, query.reason === null)}</span></div><ul class="meanings">${rows}</ul>
<dl class="ways"><div><dt>Requeue</dt><dd>processes the message again by the same rules, once the cause is removed.</dd></div><div><dt>Release</dt><dd>accepts it as it is, despite the rule.</dd></div><div><dt>Discard</dt><dd>creates no ticket from it.</dd></div></dl></section>`;
}

function choice(reason: string | null, text: Markup | string, count: number, isChosen: boolean): Markup {
  const mark = isChosen ? markup` aria-current="true"` : nothing;
  return markup`<a href="${address(reason).slice(0, -1)}"${mark}>${text} <b>${formatNumber(count)}</b></a>`;
}

function list(frame: Frame, view: QuarantineView): Markup {
  const { messages, query } = view;
  const position = { page: `${messages.page}`, ...(query.reason === null ? {} : { reason: query.reason }) };
  const rows = messages.list.map((message) => item(frame, message, view, position));
  return markup`<section class="card plain"><div class="cardhead"><h2>Messages</h2><span class="soft">${countOf(messages.total, 'message')}${query.reason === null ? '' : markup` as ${reasonName(query.reason)}`}</span></div><ul class="held">${rows}</ul>
<div class="cardfoot">${pager('Pages of messages', messages.page, messages.pages, address(query.reason))}</div></section>`;
}

function item(
  frame: Frame,
  message: QuarantinedLine,
  { sizeBytesMax }: QuarantineView,
  position: ListPosition,
): Markup {
  const { subject, from } = message;
  const title = subject === null ? markup`<span class="soft">Subject not stored</span>` : subjectOf(subject);
  return markup`<li><div class="mail"><h3>${title}</h3><p class="from">${from === null ? markup`<span class="soft">Sender not stored</span>` : markup`<span class="soft">from</span> ${untrustedText(from, 200)}`}</p>
<p class="why"><span class="badge warn">${whyOf(message, sizeBytesMax)}</span></p>
<p class="soft">In <bdi>${message.mailbox}</bdi> since ${timestampUtc(message.sinceMs)}, ${formatBytes(message.sizeBytes)}, id ${code(message.id)}</p></div>${actions(frame, message, position)}</li>
`;
}

/** With the size, where that is the reason. */
function whyOf({ reason, sizeBytes }: QuarantinedLine, sizeBytesMax: number): Markup {
  if (reason !== 'too_large' || sizeBytes <= sizeBytesMax) return reasonName(reason);
  return markup`Larger than the limit of ${formatMegabytes(sizeBytesMax)}: ${formatMegabytes(sizeBytes)}`;
}

function subjectOf(subject: string): Markup {
  return subject.trim() === '' ? markup`<span class="soft">Without a subject</span>` : untrustedText(subject);
}

/** The part of the list that is shown, to which a form redirects. */
type ListPosition = Readonly<Record<string, string>>;

function actions(frame: Frame, { id, subject }: QuarantinedLine, position: ListPosition): Markup {
  const of = markup`<span class="unseen">: ${untrustedText(subject ?? id, 60)}</span>`;
  const button = (action: string, text: string, style: string): Markup =>
    postForm(frame, 'quarantine/resolve', markup`<button type="submit" class="${style}">${text}${of}</button>`, {
      id,
      action,
      ...position,
    });
  const asked = markup`<p>It becomes no ticket. While it is stored, this command on the host takes it back:</p>${releaseCommand(id)}`;
  return markup`<div class="acts">${button('requeue', 'Requeue', 'plain')}${button('release', 'Release', 'plain')}${confirmation('Discard…', asked, button('discard', 'Discard it', 'danger'), true)}</div>`;
}

/** The id begins with the name of the mailbox, which may hold any character. */
function releaseCommand(id: string): Markup {
  const line = shellCommand('quarantine release', id);
  return line === null
    ? markup`<p class="hint">quarantine release, with its id; ${noCommandNotice}.</p>`
    : command(line);
}
