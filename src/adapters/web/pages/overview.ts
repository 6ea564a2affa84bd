/**
 * Overview page: readiness and failing checks, figures, the first mailboxes, quarantine, the last 24 hours, workers.
 *
 * Mailboxes that fail come first. A fact is a figure or a check, and its details stand in one other place.
 */

import type { HourlyActivity, OverviewView } from '../../../admin/service.ts';
import { titleOf } from '../../../ingest/health/describe.ts';
import { asRunHere } from '../../../text/program-name.ts';
import { isoTime } from '../../../text/time.ts';
import {
  asOf,
  badge,
  card,
  clockTime,
  collapsible,
  countOf,
  formatNumber,
  inPlainWords,
  reasonName,
  relativeTime,
  untrustedText,
  zone,
} from './components.ts';
import { type Frame, layout, type Markup, markup, nothing, type Refresh } from './layout.ts';
import { mailboxTable } from './mailbox-list.ts';

export function overviewPage(frame: Frame, view: OverviewView): string {
  const main = markup`<div class="head"><h1>Overview</h1>${readinessBadge(view)}${asOf(view.atMs)}</div>
${failingChecks(view)}
${figures(view)}
${mailboxes(frame, view)}
${columns(view)}`;
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
    address: '/admin/overview',
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

/** While it is ready, the parts about mailboxes and quarantine show what is wrong with those. */
function failingChecks({ isReady, failingChecks: all }: OverviewView): Markup {
  const failing = all.filter(({ check }) => !isReady || !['mailboxes', 'quarantine'].includes(check));
  if (failing.length === 0) return nothing;
  const rows = failing.map(({ check, reason, hint }) => {
    const where = ['vault', 'switch', 'passwords'].includes(check)
      ? markup` <a href="/admin/server/encryption">See Server › Encryption</a>`
      : nothing;
    return markup`<li><strong>${check === 'overview' ? 'Overview' : titleOf(check)}</strong><span class="reason">${untrustedText(inPlainWords(reason), 600)}</span>${hint === null ? where : markup`<span class="hint">${asRunHere(hint)}${where}</span>`}</li>`;
  });
  return card(isReady && !isGrave(failing) ? 'warn' : 'bad', 'What is wrong', markup`<ul class="wrongs">${rows}</ul>`);
}

function figures({ counts, activity }: OverviewView): Markup {
  const sum = (of: 'messages' | 'tickets'): string =>
    activity === null ? '–' : formatNumber(activity.reduce((all, hour) => all + hour[of], 0));
  const all = '/admin/mailboxes?show=';
  return markup`<ul class="figures">
${figure(counts.ok > 0 ? 'good' : 'idle', counts.ok, 'Mailboxes OK', `${all}all`)}
${figure(counts.failing > 0 ? 'bad' : 'idle', counts.failing, 'Failing', `${all}failing`)}
${counts.waiting > 0 ? figure('warn', counts.waiting, 'Waiting for a key', `${all}waiting`) : nothing}
${figure('idle', counts.paused, 'Paused', `${all}paused`)}
${counts.unknown > 0 ? figure('idle', counts.unknown, 'Not polled yet', `${all}all`) : nothing}
<li><div class="figure idle"><b>${sum('messages')}</b><span>Messages, 24 h</span></div></li>
<li><div class="figure idle"><b>${sum('tickets')}</b><span>New tickets, 24 h</span></div></li>
</ul>`;
}

function figure(tone: string, count: number, name: string, address: string): Markup {
  return markup`<li><a class="figure ${tone}" href="${address}"><b>${formatNumber(count)}</b><span>${name}</span></a></li>`;
}

/** Side by side in a wide window; the workers go below the shorter part. In a narrow one, quarantine comes first. */
function columns(view: OverviewView): Markup {
  const isLong = view.quarantine.reasons.length > 2;
  return markup`<div class="columns${isLong ? ' long' : ''}">${quarantine(view)}${lastDay(view)}${workers(view)}</div>`;
}

function lastDay({ activity }: OverviewView): Markup {
  const content = activity === null ? markup`<p class="soft">Not known yet.</p>` : chart(activity);
  return card('plain', 'The last 24 hours', content, markup` <small data-zone>UTC</small>`);
}

function quarantine({ quarantine: { count, reasons } }: OverviewView): Markup {
  if (count === 0) return card('plain', 'Quarantine', markup`<p class="soft">Empty.</p>`);
  const rows = reasons.map(
    (one) =>
      markup`<li><a href="/admin/quarantine?${`${new URLSearchParams({ reason: one.reason })}`}">${reasonName(one.reason)}</a> <b>${formatNumber(one.count)}</b><span class="soft">${one.meaning}</span></li>`,
  );
  const content = markup`<p>${countOf(count, 'message waits', 'messages wait')} for a decision.</p><ul class="reasons">${rows}</ul><p><a href="/admin/quarantine">Requeue, release or discard</a></p>`;
  return card('warn', 'Quarantine', content);
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
  const text = `${range(hour.startMs)} UTC: ${countOf(hour.messages, 'message')}, ${countOf(hour.tickets, 'new ticket')}`;
  return markup`<rect x="${index * slot}" width="${slot}" height="${height}"><title>${text}</title></rect>`;
}

/** Every sixth hour. */
function hourMarks(activity: HourlyActivity): readonly Markup[] {
  return activity
    .filter((_, index) => index % 6 === 0)
    .map(({ startMs }) => markup`<span>${clockTime(startMs)}</span>`);
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
        markup`<tr><th scope="row">${clockTime(hour.startMs)}–${clockTime(hour.startMs + 3_600_000)}</th><td>${formatNumber(hour.messages)}</td><td>${formatNumber(hour.tickets)}</td></tr>`,
    );
  return markup`<table class="small hourly"><caption class="unseen">Messages and new tickets by hour, the newest first</caption><thead><tr><th scope="col">Hour (${zone})</th><th scope="col">Messages</th><th scope="col">New tickets</th></tr></thead><tbody>${rows}</tbody></table>`;
}

const mailboxesShown = 10;

/** The first ones, those in trouble before the others. */
function mailboxes(frame: Frame, { mailboxes: { list, total }, atMs }: OverviewView): Markup {
  if (total === 0)
    return card(
      'plain',
      'Mailboxes',
      markup`<p>There is no mailbox yet. <a href="/admin/mailboxes/add">Add the first one</a></p>`,
    );
  const text = total > mailboxesShown ? `All ${formatNumber(total)} mailboxes` : 'Add, change, test or pause';
  return markup`<section class="card plain mailboxes"><h2>Mailboxes</h2>${mailboxTable(frame, list.slice(0, mailboxesShown), atMs)}<p><a href="/admin/mailboxes">${text}</a></p></section>`;
}
