/**
 * The mailboxes of the overview: a choice of states, a search, and one row a mailbox with what is wrong and what helps.
 *
 * In a narrow window each row becomes a card; the style sheet has the names of its columns for that.
 */
import type { MailboxLine, OverviewQuery, OverviewView } from '../../../admin/service.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { badge, counted, foreign, number, pager, saidElsewhere, type Tone, timeNear, timeUtc } from './parts.ts';

/** The address of a part of the list, to which one more value can be added. */
export function overviewAddress({ show, search }: Pick<OverviewQuery, 'show' | 'search'>): string {
  const asked = new URLSearchParams({ show, ...(search === '' ? {} : { search }) });
  return `/admin/overview?${asked}&`;
}

export function mailboxes({ mailboxes: part, query, counts, atMs }: OverviewView): Markup {
  const { list, page, pages, total } = part;
  return markup`<section class="card plain" id="mailboxes"><div class="cardhead"><h2>Mailboxes</h2>${choice(query, counts)}${search(query)}</div>
${list.length === 0 ? none(query) : mailboxTable(list, atMs)}
<div class="cardfoot">${total === 0 ? nothing : markup`<span class="soft">${counted(total, 'mailbox', 'mailboxes')}</span>`}${pager('Pages of mailboxes', page, pages, overviewAddress(query))}</div></section>`;
}

const states: readonly (readonly [OverviewQuery['show'], string])[] = [
  ['all', 'All'],
  ['failing', 'Failing'],
  ['waiting', 'Waiting'],
  ['paused', 'Paused'],
];

function choice({ show, search: word }: OverviewQuery, counts: OverviewView['counts']): Markup {
  const all = counts.ok + counts.failing + counts.waiting + counts.paused + counts.unknown;
  const links = states.map(([state, text]) => {
    const mark = state === show ? markup` aria-current="true"` : nothing;
    const count = state === 'all' ? all : counts[state];
    const address = overviewAddress({ show: state, search: word }).slice(0, -1);
    return markup`<li><a href="${address}#mailboxes"${mark}>${text} <span class="soft">${number(count)}</span></a></li>`;
  });
  return markup`<ul class="choice" aria-label="State">${links}</ul>`;
}

function search({ show, search: word }: OverviewQuery): Markup {
  const clear = markup`<a href="${overviewAddress({ show, search: '' }).slice(0, -1)}#mailboxes">Clear</a>`;
  return markup`<form class="search" method="get" action="/admin/overview" role="search"><input type="hidden" name="show" value="${show}"><label class="unseen" for="search">Part of a name or host</label><input id="search" name="search" type="search" value="${word}" placeholder="Name or host" maxlength="200" autocomplete="off" spellcheck="false"><button type="submit">Search</button>${word === '' ? nothing : clear}</form>`;
}

function none({ show, search: word }: OverviewQuery): Markup {
  if (word !== '') return markup`<p class="soft">No mailbox here has <bdi>${word}</bdi> in its name or host.</p>`;
  if (show !== 'all') return markup`<p class="soft">No mailbox is ${show}.</p>`;
  return markup`<p>There is no mailbox yet. Add one on the host: <code>ticketmaild mailbox add --help</code></p>`;
}

function mailboxTable(list: readonly MailboxLine[], atMs: number): Markup {
  return markup`<table class="cards"><caption class="unseen">Mailboxes, times in UTC</caption><thead><tr><th scope="col">Mailbox</th><th scope="col">State</th><th scope="col">Last success (UTC)</th><th scope="col">Next visit (UTC)</th></tr></thead><tbody>
${list.map((line) => row(line, atMs))}</tbody></table>`;
}

const badges: Readonly<Record<MailboxLine['state'], readonly [Tone, string]>> = {
  ok: ['good', 'OK'],
  failing: ['bad', 'Failing'],
  waiting: ['warn', 'Waiting for a key'],
  paused: ['idle', 'Paused'],
  unknown: ['unknown', 'Not visited yet'],
};

function row(line: MailboxLine, atMs: number): Markup {
  const [tone, text] = badges[line.state];
  const none = markup`<span class="soft">${line.state === 'unknown' ? 'when it has a place' : 'none'}</span>`;
  const next = line.nextPollMs === null || line.state === 'paused' ? none : timeNear(line.nextPollMs, atMs);
  const pushed = line.isPushed ? markup` <small>server announces mail</small>` : nothing;
  return markup`<tr><th scope="row"><bdi>${line.name}</bdi><small><bdi>${line.host}</bdi></small></th><td>${badge(tone, text)}${pushed}${wrong(line.error)}</td><td>${timeNear(line.lastSuccessMs, atMs)}</td><td>${next}</td></tr>
`;
}

function wrong(error: MailboxLine['error']): Markup {
  if (error === null) return nothing;
  const { reason, said, hint, sinceMs } = error;
  const since = sinceMs === null ? nothing : markup` <small>since ${timeUtc(sinceMs)}</small>`;
  return markup`<p class="reason">${foreign(reason, 600)}${said === null ? nothing : markup` ${saidElsewhere(said)}`}${since}</p>${hint === null ? nothing : markup`<p class="hint">${hint}</p>`}`;
}
