/**
 * Mails and tickets by hour: bars for the eye, and a table with the same figures for everybody.
 *
 * The drawing has no words in it, so that it can be stretched to any width; its scale stands beside it.
 */
import type { Activity } from '../../../admin/service.ts';
import { isoTime } from '../../../text/time.ts';
import { type Markup, markup } from './markup.ts';
import { counted, fold, number } from './parts.ts';

const slot = 10;
const height = 100;

export function chart(activity: Activity): Markup {
  const mails = activity.reduce((sum, hour) => sum + hour.mails, 0);
  const tickets = activity.reduce((sum, hour) => sum + hour.tickets, 0);
  const most = Math.max(1, ...activity.flatMap((hour) => [hour.mails, hour.tickets]));
  const top = niceTop(most);
  const said = `${counted(mails, 'mail')} and ${counted(tickets, 'ticket')} in the last ${counted(activity.length, 'hour')}. The figures are in the table below.`;
  return markup`<div class="chart"><p class="legend"><span class="mails">Mails</span> <span class="tickets">New tickets</span></p>
<div class="plot"><p class="scale" aria-hidden="true"><span>${number(top)}</span><span>${top % 2 === 0 ? number(top / 2) : ''}</span><span>0</span></p>
<svg viewBox="0 0 ${activity.length * slot} ${height}" preserveAspectRatio="none" role="img" aria-label="${said}"><path class="grid" d="M0 0H${activity.length * slot}M0 ${height / 2}H${activity.length * slot}M0 ${height}H${activity.length * slot}"/><path class="mails" d="${bars(activity, 1, (hour) => hour.mails / top)}"/><path class="tickets" d="${bars(activity, 5, (hour) => hour.tickets / top)}"/>${activity.map(slotOf)}</svg></div>
<p class="hours" aria-hidden="true">${hourMarks(activity)}</p></div>
${fold('by-hour', 'Figures by hour', table(activity))}`;
}

/** The next round number: 1, 2, 4, 5, 10 and so on, times a power of ten. */
function niceTop(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  return Math.ceil(([1, 2, 4, 5, 6, 8, 10].find((step) => step * power >= most) ?? 10) * power);
}

/** One path for all bars of a kind, each 4 wide and `offset` behind the beginning of its hour. */
function bars(activity: Activity, offset: number, share: (hour: Activity[number]) => number): string {
  return activity
    .map((hour, index) => {
      const tall = Math.round(share(hour) * height * 10) / 10;
      return tall === 0 ? '' : `M${index * slot + offset} ${height}v-${tall}h4v${tall}z`;
    })
    .join('');
}

/** What the pointer finds over an hour. */
function slotOf(hour: Activity[number], index: number): Markup {
  const said = `${range(hour.startMs)}: ${counted(hour.mails, 'mail')}, ${counted(hour.tickets, 'new ticket')}`;
  return markup`<rect x="${index * slot}" width="${slot}" height="${height}"><title>${said}</title></rect>`;
}

/** Every sixth hour. */
function hourMarks(activity: Activity): readonly Markup[] {
  return activity.filter((_, index) => index % 6 === 0).map(({ startMs }) => markup`<span>${clock(startMs)}</span>`);
}

function clock(atMs: number): string {
  return isoTime(atMs)?.slice(11, 16) ?? '';
}

function range(startMs: number): string {
  return `${clock(startMs)}–${clock(startMs + 3_600_000)}`;
}

function table(activity: Activity): Markup {
  const rows = activity
    .toReversed()
    .map(
      (hour) =>
        markup`<tr><th scope="row">${range(hour.startMs)}</th><td>${number(hour.mails)}</td><td>${number(hour.tickets)}</td></tr>`,
    );
  return markup`<table class="small hourly"><caption class="unseen">Mails and new tickets by hour, the newest first</caption><thead><tr><th scope="col">Hour (UTC)</th><th scope="col">Mails</th><th scope="col">New tickets</th></tr></thead><tbody>${rows}</tbody></table>`;
}
