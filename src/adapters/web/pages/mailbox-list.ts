/**
 * Mailboxes page: a choice of states, a search, and a row per mailbox with its error and a hint; those that fail come
 * first.
 *
 * In a narrow window each row becomes a card; the style sheet has the names of its columns for that.
 */
import type { MailboxLine, OverviewQuery, OverviewView } from '../../../admin/service.ts';
import { pushText } from '../../../ingest/health/push.ts';
import {
  asOf,
  badge,
  countOf,
  formatNumber,
  hintParagraph,
  inPlainWords,
  pager,
  postForm,
  quotation,
  type Tone,
  timeOfDay,
  timestampUtc,
  untrustedText,
  zone,
} from './components.ts';
import { type Frame, layout, type Markup, markup, nothing, type Refresh } from './layout.ts';

/** `view.mailboxes`: the part of the list that `view.query` names. */
export function mailboxesPage(frame: Frame, view: OverviewView): string {
  const { mailboxes: part, query, counts, atMs } = view;
  const { list, page, pages, total } = part;
  const main = markup`<div class="head"><h1>Mailboxes</h1><a class="button primary" href="/admin/mailboxes/add">Add a mailbox</a>${asOf(atMs)}</div>
<section class="card plain mailboxes"><div class="cardhead">${choice(query, counts)}${search(query)}</div>
${list.length === 0 ? none(query) : mailboxTable(frame, list, atMs)}
<div class="cardfoot">${total === 0 ? nothing : markup`<span class="soft">${countOf(total, 'mailbox', 'mailboxes')}</span>`}${pager('Pages of mailboxes', page, pages, listAddress(query))}</div></section>`;
  return layout(frame, { title: 'Mailboxes', navigation: 'mailboxes', main, refresh: refresh(view) });
}

function refresh({ query, counts }: OverviewView): Refresh {
  return {
    seconds: 10,
    secondsWithoutScript: 60,
    address: `${listAddress(query)}page=${query.page}`,
    announce: `${countOf(counts.failing, 'mailbox', 'mailboxes')} failing.`,
  };
}

/** The address of a part of the list, to which one more parameter can be added. */
function listAddress({ show, search }: Pick<OverviewQuery, 'show' | 'search'>): string {
  const parameters = new URLSearchParams({ show, ...(search === '' ? {} : { search }) });
  return `/admin/mailboxes?${parameters}&`;
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
    const address = listAddress({ show: state, search: word }).slice(0, -1);
    return markup`<li><a href="${address}"${mark}>${text} <span class="soft">${formatNumber(count)}</span></a></li>`;
  });
  return markup`<ul class="choice" aria-label="State">${links}</ul>`;
}

function search({ show, search: word }: OverviewQuery): Markup {
  const clear = markup`<a href="${listAddress({ show, search: '' }).slice(0, -1)}">Clear</a>`;
  return markup`<form class="search" method="get" action="/admin/mailboxes" role="search"><input type="hidden" name="show" value="${show}"><label class="unseen" for="search">Part of a name or host</label><input id="search" name="search" type="search" value="${word}" placeholder="Name or host" maxlength="200" autocomplete="off" spellcheck="false"><button type="submit">Search</button>${word === '' ? nothing : clear}</form>`;
}

function none({ show, search: word }: OverviewQuery): Markup {
  if (word !== '') return markup`<p class="soft">No mailbox here has <bdi>${word}</bdi> in its name or host.</p>`;
  if (show !== 'all') return markup`<p class="soft">No mailbox is ${show}.</p>`;
  return markup`<p>There is no mailbox yet. <a href="/admin/mailboxes/add">Add the first one</a></p>`;
}

export function mailboxTable(frame: Frame, list: readonly MailboxLine[], atMs: number): Markup {
  return markup`<table class="cards"><caption class="unseen">Mailboxes</caption><thead><tr><th scope="col">Mailbox</th><th scope="col">State</th><th scope="col">Last success (${zone})</th><th scope="col">Next poll (${zone})</th></tr></thead><tbody>
${list.map((line) => row(frame, line, atMs))}</tbody></table>`;
}

const badges: Readonly<Record<MailboxLine['state'], readonly [Tone, string]>> = {
  ok: ['good', 'OK'],
  failing: ['bad', 'Failing'],
  waiting: ['warn', 'Waiting for a key'],
  paused: ['idle', 'Paused'],
  unknown: ['unknown', 'Not polled yet'],
};

const unconfirmed: readonly [Tone, string] = ['warn', 'Unconfirmed'];

function row(frame: Frame, line: MailboxLine, atMs: number): Markup {
  const [tone, text] = line.isUnconfirmed ? unconfirmed : badges[line.state];
  const none = markup`<span class="soft">${line.state === 'unknown' ? 'when a worker is free' : 'none'}</span>`;
  const next = line.nextPollMs === null || line.state === 'paused' ? none : timeOfDay(line.nextPollMs, atMs);
  const push = line.push === null || isPushQuiet(line) ? nothing : markup` <small>${pushText(line.push, atMs)}</small>`;
  return markup`<tr><th scope="row"><a href="${mailboxAddress(line.name)}"><bdi>${line.name}</bdi></a><small><bdi>${line.host}</bdi></small></th><td>${badge(tone, text)}${push}${mailboxError(line.error)}${line.isUnconfirmed ? mailboxLink(line, 'Check and confirm') : nothing}${line.needsConsent ? mailboxLink(line, 'Sign in again') : nothing}${line.state === 'failing' ? retryForms(frame, line) : nothing}</td><td>${timeOfDay(line.lastSuccessMs, atMs)}</td><td>${next}</td></tr>
`;
}

/** A mailbox that fails has no connection to push on. */
function isPushQuiet({ state, push }: MailboxLine): boolean {
  return state !== 'ok' && push?.state === 'polled';
}

/** The second one where others have the same trouble. */
function retryForms(frame: Frame, { name, host }: Pick<MailboxLine, 'name' | 'host'>): Markup {
  const button = markup`<button type="submit">Try now<span class="unseen">: ${name}</span></button>`;
  const all = markup`<button type="submit">Try all of <bdi>${host}</bdi></button>`;
  return markup`<div class="buttons">${postForm(frame, 'mailbox/retry', button, { name })}${postForm(frame, 'mailbox/retry', all, { host })}</div>`;
}

/** The page of one mailbox, or, with a path such as `/settings`, one of its forms. */
export function mailboxAddress(name: string, form = ''): string {
  return `/admin/mailbox${form}?${new URLSearchParams({ name })}`;
}

function mailboxLink({ name }: MailboxLine, text: string): Markup {
  return markup`<p><a href="${mailboxAddress(name)}">${text}<span class="unseen">: ${name}</span></a></p>`;
}

function mailboxError(error: MailboxLine['error']): Markup {
  if (error === null) return nothing;
  const { reason, storedMessage: said, hint, sinceMs } = error;
  const since = sinceMs === null ? nothing : markup` <small>since ${timestampUtc(sinceMs)}</small>`;
  return markup`<p class="reason">${untrustedText(inPlainWords(reason), 600)}${said === null ? nothing : markup` ${quotation(said)}`}${since}</p>${hint === null ? nothing : hintParagraph(hint)}`;
}
