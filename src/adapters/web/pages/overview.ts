/**
 * Overview page: readiness and failing checks, figures, the last 24 hours, quarantine, workers, then the mailboxes.
 *
 * Mailboxes that fail come first.
 */

import type { HourlyActivity, MailboxLine, OverviewQuery, OverviewView } from '../../../admin/service.ts';
import { titleOf } from '../../../ingest/health/describe.ts';
import { isoTime } from '../../../text/time.ts';
import {
  badge,
  card,
  collapsible,
  countOf,
  formatNumber,
  pager,
  quotation,
  reasonName,
  relativeTime,
  type Tone,
  timeOfDay,
  timestamp,
  timestampUtc,
  untrustedText,
} from './components.ts';
import { type Frame, layout, type Markup, markup, nothing, type Refresh } from './layout.ts';

export function overviewPage(frame: Frame, view: OverviewView): string {
  const main = markup`<div class="head"><h1>Overview</h1>${readinessBadge(view)}<p class="asof">As of ${timestamp(view.atMs)} UTC<span class="scripted" data-live> · refreshes automatically</span></p></div>
${failingChecks(view)}
${figures(view)}
${columns(view)}
${mailboxes(view)}`;
  return layout(frame, { title: pageTitle(view), navigation: 'overview', main, refresh: refresh(view) });
}

function pageTitle({ isReady, failingChecks: failing }: OverviewView): string {
  if (!isReady) return 'Not ready';
  return failing.length === 0 ? 'Overview' : `Overview (${failing.length} to check)`;
}

function refresh(view: OverviewView): Refresh {
  const { isReady, failingChecks: failing, counts } = view;
  const state = isReady ? 'Ready' : 'Not ready';
  return {
    seconds: 10,
    secondsWithoutScript: 60,
    address: `${overviewAddress(view.query)}page=${view.query.page}`,
    announce: `${state}, ${countOf(failing.length, 'thing')} to check, ${countOf(counts.failing, 'mailbox', 'mailboxes')} failing.`,
  };
}

function readinessBadge({ isReady, failingChecks: failing }: OverviewView): Markup {
  if (!isReady) return badge('bad', 'Not ready');
  if (failing.length === 0) return badge('good', 'Ready');
  const text = failing.every(({ isWarning }) => isWarning) ? 'Ready, with warnings' : 'Ready, with failures';
  return badge(isGrave(failing) ? 'bad' : 'warn', text);
}

/** The next start, or the next change of the switch, would fail. */
function isGrave(failing: OverviewView['failingChecks']): boolean {
  return failing.some(({ check }) => check === 'vault' || check === 'switch');
}

function failingChecks({ isReady, failingChecks: failing }: OverviewView): Markup {
  if (failing.length === 0) return nothing;
  const rows = failing.map(({ check, reason, hint }) => {
    const where = ['vault', 'switch', 'passwords'].includes(check)
      ? markup` <a href="/admin/server/encryption">See Server › Encryption</a>`
      : nothing;
    return markup`<li><strong>${check === 'overview' ? 'Overview' : titleOf(check)}</strong><span class="reason">${untrustedText(reason, 600)}</span>${hint === null ? where : markup`<span class="hint">${hint}${where}</span>`}</li>`;
  });
  return card(isReady && !isGrave(failing) ? 'warn' : 'bad', 'What is wrong', markup`<ul class="wrongs">${rows}</ul>`);
}

function figures({ counts, quarantine: inQuarantine, activity }: OverviewView): Markup {
  const sum = (of: 'messages' | 'tickets'): string =>
    activity === null ? '–' : formatNumber(activity.reduce((all, hour) => all + hour[of], 0));
  const all = '/admin/overview?show=';
  return markup`<ul class="figures">
${figure(counts.ok > 0 ? 'good' : 'idle', counts.ok, 'Mailboxes OK', `${all}all#mailboxes`)}
${figure(counts.failing > 0 ? 'bad' : 'idle', counts.failing, 'Failing', `${all}failing#mailboxes`)}
${figure(counts.waiting > 0 ? 'warn' : 'idle', counts.waiting, 'Waiting for a key', `${all}waiting#mailboxes`)}
${figure('idle', counts.paused, 'Paused', `${all}paused#mailboxes`)}
${counts.unknown > 0 ? figure('idle', counts.unknown, 'Not polled yet', `${all}all#mailboxes`) : nothing}
${figure(inQuarantine.count > 0 ? 'warn' : 'idle', inQuarantine.count, 'In quarantine', '/admin/quarantine')}
<li><div class="figure idle"><b>${sum('messages')}</b><span>Messages, 24 h</span></div></li>
<li><div class="figure idle"><b>${sum('tickets')}</b><span>New tickets, 24 h</span></div></li>
</ul>`;
}

function figure(tone: string, count: number, name: string, address: string): Markup {
  return markup`<li><a class="figure ${tone}" href="${address}"><b>${formatNumber(count)}</b><span>${name}</span></a></li>`;
}

/** The workers go into the shorter column. */
function columns(view: OverviewView): Markup {
  const isLong = view.quarantine.reasons.length > 2;
  const left = markup`${lastDay(view)}${isLong ? workers(view) : nothing}`;
  const right = markup`${quarantine(view)}${isLong ? nothing : workers(view)}`;
  return markup`<div class="columns"><div>${left}</div><div>${right}</div></div>`;
}

function lastDay({ activity }: OverviewView): Markup {
  const content = activity === null ? markup`<p class="soft">Not known yet.</p>` : chart(activity);
  return card('plain', 'The last 24 hours', content, markup` <small>UTC</small>`);
}

function quarantine({ quarantine: { count, reasons } }: OverviewView): Markup {
  if (count === 0) return card('plain', 'Quarantine', markup`<p class="soft">Empty.</p>`);
  const rows = reasons.map(
    (one) =>
      markup`<li><a href="/admin/quarantine?${`${new URLSearchParams({ reason: one.reason })}`}">${reasonName(one.reason)}</a> <b>${formatNumber(one.count)}</b><span class="soft">${one.meaning}</span></li>`,
  );
  const content = markup`<p>${countOf(count, 'message waits', 'messages wait')} for a decision.</p><ul class="reasons">${rows}</ul><p><a href="/admin/quarantine">Requeue, release or discard</a></p>`;
  return card('plain', 'Quarantine', content);
}

const workersShown = 6;

function workers({ workers: all, atMs }: OverviewView): Markup {
  const rows = all.map(
    (one) =>
      markup`<li>${one.isLive ? badge('good', 'runs') : badge('idle', 'gone')}<span><bdi>${one.host}</bdi> <span class="soft">pid ${`${one.pid}`}${one.isThisOne ? ', this one' : ''}</span></span><span class="soft seen">${one.isThisOne ? '' : relativeTime(one.seenAtMs, atMs)}</span></li>`,
  );
  const list = (part: readonly Markup[]): Markup => markup`<ul class="workers">${part}</ul>`;
  const rest =
    rows.length > workersShown
      ? collapsible('more-workers', `${rows.length - workersShown} more`, list(rows.slice(workersShown)))
      : nothing;
  return card('plain', 'Workers', markup`${list(rows.slice(0, workersShown))}${rest}`);
}

// Chart of messages and tickets by hour: bars (SVG), and a table with the same figures. The drawing has no text, so
// that it stretches to any width; its scale stands beside it.

const slot = 10;
const height = 100;

function chart(activity: HourlyActivity): Markup {
  const messages = activity.reduce((sum, hour) => sum + hour.messages, 0);
  const tickets = activity.reduce((sum, hour) => sum + hour.tickets, 0);
  const most = Math.max(1, ...activity.flatMap((hour) => [hour.messages, hour.tickets]));
  const top = niceTop(most);
  const text = `${countOf(messages, 'message')} and ${countOf(tickets, 'ticket')} in the last ${countOf(activity.length, 'hour')}. The figures are in the table below.`;
  return markup`<div class="chart"><p class="legend"><span class="messages">Messages</span> <span class="tickets">New tickets</span></p>
<div class="plot"><p class="scale" aria-hidden="true"><span>${formatNumber(top)}</span><span>${top % 2 === 0 ? formatNumber(top / 2) : ''}</span><span>0</span></p>
<svg viewBox="0 0 ${activity.length * slot} ${height}" preserveAspectRatio="none" role="img" aria-label="${text}"><path class="grid" d="M0 0H${activity.length * slot}M0 ${height / 2}H${activity.length * slot}M0 ${height}H${activity.length * slot}"/><path class="messages" d="${bars(activity, 1, (hour) => hour.messages / top)}"/><path class="tickets" d="${bars(activity, 5, (hour) => hour.tickets / top)}"/>${activity.map(tooltipOf)}</svg></div>
<p class="hours" aria-hidden="true">${hourMarks(activity)}</p></div>
${collapsible('by-hour', 'Figures by hour', table(activity))}`;
}

/** The next round number: 1, 2, 4, 5, 10 and so on, times a power of ten. */
function niceTop(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  return Math.ceil(([1, 2, 4, 5, 6, 8, 10].find((step) => step * power >= most) ?? 10) * power);
}

/** One path for all bars of a kind, each 4 wide, at `offset` from the start of its hour. */
function bars(activity: HourlyActivity, offset: number, share: (hour: HourlyActivity[number]) => number): string {
  return activity
    .map((hour, index) => {
      const tall = Math.round(share(hour) * height * 10) / 10;
      return tall === 0 ? '' : `M${index * slot + offset} ${height}v-${tall}h4v${tall}z`;
    })
    .join('');
}

/** The tooltip of an hour. */
function tooltipOf(hour: HourlyActivity[number], index: number): Markup {
  const text = `${range(hour.startMs)}: ${countOf(hour.messages, 'message')}, ${countOf(hour.tickets, 'new ticket')}`;
  return markup`<rect x="${index * slot}" width="${slot}" height="${height}"><title>${text}</title></rect>`;
}

/** Every sixth hour. */
function hourMarks(activity: HourlyActivity): readonly Markup[] {
  return activity.filter((_, index) => index % 6 === 0).map(({ startMs }) => markup`<span>${clock(startMs)}</span>`);
}

function clock(atMs: number): string {
  return isoTime(atMs)?.slice(11, 16) ?? '';
}

function range(startMs: number): string {
  return `${clock(startMs)}–${clock(startMs + 3_600_000)}`;
}

function table(activity: HourlyActivity): Markup {
  const rows = activity
    .toReversed()
    .map(
      (hour) =>
        markup`<tr><th scope="row">${range(hour.startMs)}</th><td>${formatNumber(hour.messages)}</td><td>${formatNumber(hour.tickets)}</td></tr>`,
    );
  return markup`<table class="small hourly"><caption class="unseen">Messages and new tickets by hour, the newest first</caption><thead><tr><th scope="col">Hour (UTC)</th><th scope="col">Messages</th><th scope="col">New tickets</th></tr></thead><tbody>${rows}</tbody></table>`;
}

// Mailboxes: a choice of states, a search, and a row per mailbox with its error and a hint. In a narrow window each row
// becomes a card; the style sheet has the names of its columns for that.

/** The address of a part of the list, to which one more parameter can be added. */
function overviewAddress({ show, search }: Pick<OverviewQuery, 'show' | 'search'>): string {
  const parameters = new URLSearchParams({ show, ...(search === '' ? {} : { search }) });
  return `/admin/overview?${parameters}&`;
}

function mailboxes({ mailboxes: part, query, counts, atMs }: OverviewView): Markup {
  const { list, page, pages, total } = part;
  return markup`<section class="card plain" id="mailboxes"><div class="cardhead"><h2>Mailboxes</h2>${choice(query, counts)}${search(query)}</div>
${list.length === 0 ? none(query) : mailboxTable(list, atMs)}
<div class="cardfoot">${total === 0 ? nothing : markup`<span class="soft">${countOf(total, 'mailbox', 'mailboxes')}</span>`}${pager('Pages of mailboxes', page, pages, overviewAddress(query))}</div></section>`;
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
    return markup`<li><a href="${address}#mailboxes"${mark}>${text} <span class="soft">${formatNumber(count)}</span></a></li>`;
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
  return markup`<table class="cards"><caption class="unseen">Mailboxes, times in UTC</caption><thead><tr><th scope="col">Mailbox</th><th scope="col">State</th><th scope="col">Last success (UTC)</th><th scope="col">Next poll (UTC)</th></tr></thead><tbody>
${list.map((line) => row(line, atMs))}</tbody></table>`;
}

const badges: Readonly<Record<MailboxLine['state'], readonly [Tone, string]>> = {
  ok: ['good', 'OK'],
  failing: ['bad', 'Failing'],
  waiting: ['warn', 'Waiting for a key'],
  paused: ['idle', 'Paused'],
  unknown: ['unknown', 'Not polled yet'],
};

const unconfirmed: readonly [Tone, string] = ['warn', 'Unconfirmed'];

function row(line: MailboxLine, atMs: number): Markup {
  const [tone, text] = line.isUnconfirmed ? unconfirmed : badges[line.state];
  const none = markup`<span class="soft">${line.state === 'unknown' ? 'when a worker is free' : 'none'}</span>`;
  const next = line.nextPollMs === null || line.state === 'paused' ? none : timeOfDay(line.nextPollMs, atMs);
  const idling = line.isIdling ? markup` <small>IDLE</small>` : nothing;
  return markup`<tr><th scope="row"><a href="/admin/mailbox?${`${new URLSearchParams({ name: line.name })}`}"><bdi>${line.name}</bdi></a><small><bdi>${line.host}</bdi></small></th><td>${badge(tone, text)}${idling}${mailboxError(line.error)}${line.isUnconfirmed ? mailboxLink(line, 'Check and confirm') : nothing}${line.needsConsent ? mailboxLink(line, 'Sign in again') : nothing}</td><td>${timeOfDay(line.lastSuccessMs, atMs)}</td><td>${next}</td></tr>
`;
}

function mailboxLink({ name }: MailboxLine, text: string): Markup {
  return markup`<p><a href="/admin/mailbox?${`${new URLSearchParams({ name })}`}">${text}<span class="unseen">: ${name}</span></a></p>`;
}

function mailboxError(error: MailboxLine['error']): Markup {
  if (error === null) return nothing;
  const { reason, storedMessage: said, hint, sinceMs } = error;
  const since = sinceMs === null ? nothing : markup` <small>since ${timestampUtc(sinceMs)}</small>`;
  return markup`<p class="reason">${untrustedText(reason, 600)}${said === null ? nothing : markup` ${quotation(said)}`}${since}</p>${hint === null ? nothing : markup`<p class="hint">${hint}</p>`}`;
}
