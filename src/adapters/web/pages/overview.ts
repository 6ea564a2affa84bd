/**
 * The overview: whether the daemon can do its job and what is wrong, first; then figures, the last day, what waits in
 * quarantine, the workers; then the mailboxes, those in trouble first.
 */
import type { OverviewView } from '../../../admin/service.ts';
import { chart } from './chart.ts';
import type { Frame } from './frame.ts';
import { layout, type Refresh } from './layout.ts';
import { mailboxes, overviewAddress } from './mailboxes.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { badge, card, counted, fold, foreign, number, reasonName, time, timeAgo } from './parts.ts';

export function overviewPage(frame: Frame, view: OverviewView): string {
  const main = markup`<div class="head"><h1>Overview</h1>${readinessBadge(view)}<p class="asof">As of ${time(view.atMs)} UTC<span class="scripted" data-live> · refreshes itself</span></p></div>
${wrongs(view)}
${figures(view)}
${columns(view)}
${mailboxes(view)}`;
  return layout(frame, { title: titleOf(view), place: 'overview', main, refresh: refresh(view) });
}

function titleOf({ isReady, wrongs: found }: OverviewView): string {
  if (!isReady) return 'Not ready';
  return found.length === 0 ? 'Overview' : `Overview (${found.length} to look at)`;
}

function refresh(view: OverviewView): Refresh {
  const { isReady, wrongs: found, counts } = view;
  const state = isReady ? 'Ready' : 'Not ready';
  return {
    seconds: 10,
    secondsWithoutScript: 60,
    address: `${overviewAddress(view.query)}page=${view.query.page}`,
    announce: `${state}, ${counted(found.length, 'thing')} to look at, ${counted(counts.failing, 'mailbox', 'mailboxes')} failing.`,
  };
}

function readinessBadge({ isReady, wrongs: found }: OverviewView): Markup {
  if (!isReady) return badge('bad', 'Not ready');
  if (isGrave(found)) return badge('bad', 'Ready, with something wrong');
  return found.length === 0 ? badge('good', 'Ready') : badge('warn', 'Ready, with something to look at');
}

/** The next start, or the next change of the switch, would not go well. */
function isGrave(found: OverviewView['wrongs']): boolean {
  return found.some(({ check }) => check === 'vault' || check === 'switch');
}

/** What the checks of `/readyz` are called here. */
const checkNames: Readonly<Record<string, string>> = {
  database: 'Database',
  disk: 'Disk',
  scheduler: 'Scheduler',
  vault: 'Key file',
  switch: 'Encryption switch',
  workers: 'Workers',
  servers: 'Mail servers',
  certificates: 'Certificates',
  config: 'Configuration',
  clock: 'Clock',
  quarantine: 'Quarantine',
  mailboxes: 'Mailboxes',
};

function wrongs({ isReady, wrongs: found }: OverviewView): Markup {
  if (found.length === 0) return nothing;
  const rows = found.map(({ check, reason, hint }) => {
    const name = checkNames[check] ?? check;
    const where = ['vault', 'switch'].includes(check)
      ? markup` <a href="/admin/server/encryption">See Server › Encryption</a>`
      : nothing;
    return markup`<li><strong>${name}</strong><span class="reason">${foreign(reason, 600)}</span>${hint === null ? where : markup`<span class="hint">${hint}${where}</span>`}</li>`;
  });
  return card(isReady && !isGrave(found) ? 'warn' : 'bad', 'What is wrong', markup`<ul class="wrongs">${rows}</ul>`);
}

function figures({ counts, quarantine: held, activity }: OverviewView): Markup {
  const sum = (of: 'mails' | 'tickets'): string =>
    activity === null ? '–' : number(activity.reduce((all, hour) => all + hour[of], 0));
  const all = '/admin/overview?show=';
  return markup`<ul class="figures">
${figure(counts.ok > 0 ? 'good' : 'idle', counts.ok, 'Mailboxes OK', `${all}all#mailboxes`)}
${figure(counts.failing > 0 ? 'bad' : 'idle', counts.failing, 'Failing', `${all}failing#mailboxes`)}
${figure(counts.waiting > 0 ? 'warn' : 'idle', counts.waiting, 'Waiting for a key', `${all}waiting#mailboxes`)}
${figure('idle', counts.paused, 'Paused', `${all}paused#mailboxes`)}
${counts.unknown > 0 ? figure('idle', counts.unknown, 'Not visited yet', `${all}all#mailboxes`) : nothing}
${figure(held.count > 0 ? 'warn' : 'idle', held.count, 'In quarantine', '/admin/quarantine')}
<li><div class="figure idle"><b>${sum('mails')}</b><span>Mails, 24 h</span></div></li>
<li><div class="figure idle"><b>${sum('tickets')}</b><span>New tickets, 24 h</span></div></li>
</ul>`;
}

function figure(tone: string, count: number, name: string, address: string): Markup {
  return markup`<li><a class="figure ${tone}" href="${address}"><b>${number(count)}</b><span>${name}</span></a></li>`;
}

/** The workers stand in the column that is shorter. */
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
  if (count === 0) return card('plain', 'Quarantine', markup`<p class="soft">Empty: no mail is kept aside.</p>`);
  const rows = reasons.map(
    (one) =>
      markup`<li><a href="/admin/quarantine?${`${new URLSearchParams({ reason: one.reason })}`}">${reasonName(one.reason)}</a> <b>${number(one.count)}</b><span class="soft">${one.meaning}</span></li>`,
  );
  const content = markup`<p>${counted(count, 'mail waits', 'mails wait')} for a decision.</p><ul class="reasons">${rows}</ul><p><a href="/admin/quarantine">Look at them, retry or release</a></p>`;
  return card('plain', 'Quarantine', content);
}

const workersShown = 6;

function workers({ workers: all, atMs }: OverviewView): Markup {
  const rows = all.map(
    (one) =>
      markup`<li>${one.isLive ? badge('good', 'runs') : badge('idle', 'gone')}<span><bdi>${one.host}</bdi> <span class="soft">pid ${`${one.pid}`}${one.isThisOne ? ', this one' : ''}</span></span><span class="soft seen">${one.isThisOne ? '' : timeAgo(one.seenAtMs, atMs)}</span></li>`,
  );
  const list = (part: readonly Markup[]): Markup => markup`<ul class="workers">${part}</ul>`;
  const rest =
    rows.length > workersShown
      ? fold('more-workers', `${rows.length - workersShown} more`, list(rows.slice(workersShown)))
      : nothing;
  return card('plain', 'Workers', markup`${list(rows.slice(0, workersShown))}${rest}`);
}
