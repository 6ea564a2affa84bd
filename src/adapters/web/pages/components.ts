/**
 * What pages are made of: badges, times, commands, forms, folds, pagers.
 *
 * Pure functions from values to markup. Whatever stands in a status colour also says so in words and has a shape of its own.
 */

import { isQuarantineReason } from '../../../ingest/quarantine/reasons.ts';
import { isoTime } from '../../../text/time.ts';
import type { Frame } from './layout.ts';
import { type Markup, markup, nothing } from './layout.ts';

export type Tone = 'good' | 'bad' | 'warn' | 'idle' | 'unknown' | 'busy';

/** A state in one or two words. */
export function badge(tone: Tone, text: string): Markup {
  return markup`<span class="badge ${tone}">${text}</span>`;
}

/** `2026-01-31 08:30:00`; what is no time is `unknown`, null is `never`. */
export function time(at: number | string | null): Markup {
  if (at === null) return markup`<span class="soft">never</span>`;
  const iso = isoSeconds(at);
  if (iso === null) return markup`<span class="soft">unknown</span>`;
  return markup`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')}</time>`;
}

/** `2026-01-31T08:30:00Z`; null for what is no time. A text is as `isoTime` writes it. */
function isoSeconds(at: number | string): string | null {
  const iso = typeof at === 'string' ? at : (isoTime(at) ?? '');
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(iso) ? `${iso.slice(0, 19)}Z` : null;
}

/** The same with its zone, for a sentence. */
export function timeUtc(at: number | string | null): Markup {
  return markup`<span class="nowrap">${time(at)} UTC</span>`;
}

/** When a page was made that refreshes itself. */
export function asOf(atMs: number): Markup {
  return markup`<p class="asof">As of ${timeUtc(atMs)}<span class="scripted" data-live> · refreshes itself</span></p>`;
}

/** The time of day when it is of the same day as `nowMs`, and how far that is away. */
export function timeNear(atMs: number | null, nowMs: number): Markup {
  const iso = atMs === null ? null : isoSeconds(atMs);
  if (atMs === null || iso === null) return time(atMs);
  const [day = '', clock = ''] = iso.slice(0, 19).split('T');
  const shown = isoTime(nowMs)?.startsWith(day) === true ? clock : `${day} ${clock}`;
  return markup`<time datetime="${iso}">${shown}</time> <small>${distance(atMs - nowMs)}</small>`;
}

/** How far it is away, alone. */
export function timeAgo(atMs: number | null, nowMs: number): Markup {
  const iso = atMs === null ? null : isoSeconds(atMs);
  return atMs === null || iso === null ? time(atMs) : markup`<time datetime="${iso}">${distance(atMs - nowMs)}</time>`;
}

/** `33 s ago`, `in 5 min`. */
function distance(ms: number): string {
  const text = duration(Math.abs(ms));
  if (Math.abs(ms) < 1000) return 'now';
  return ms < 0 ? `${text} ago` : `in ${text}`;
}

function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

/** `1 password`, `2,000 passwords`. */
export function counted(count: number, word: string, plural = `${word}s`): string {
  return `${number(count)} ${count === 1 ? word : plural}`;
}

export function number(count: number): string {
  return count.toLocaleString('en-GB');
}

/** `512 bytes`, `1.4 MB`; 1 kB is 1000 bytes. */
export function size(bytes: number): string {
  if (bytes < 1000) return counted(bytes, 'byte');
  const units = ['kB', 'MB', 'GB'];
  let value = bytes / 1000;
  while (value >= 999.5 && units.length > 1) {
    value /= 1000;
    units.shift();
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[0]}`;
}

/** They turn what follows around, so that a sender or a file name looks like another one. */
const directionOverrides = /[\u202a-\u202e\u2066-\u2069]/gu;

/** What a stranger wrote, kept apart from the direction and width of what is around it, and cut at `max` characters. */
export function foreign(text: string, max = 300): Markup {
  const characters = [...text.slice(0, max * 2 + 2)];
  const shown = characters.length > max ? `${characters.slice(0, max).join('')}…` : text;
  return markup`<bdi class="foreign">${shown.replace(directionOverrides, '\ufffd')}</bdi>`;
}

/** What a table or a server says, in quotation marks: not words of ours. */
export function saidElsewhere(text: string): Markup {
  return markup`<q>${foreign(text, 300)}</q>`;
}

/** Why a mail is in quarantine. One that this version does not know is whatever stands in the table. */
export function reasonName(reason: string): Markup {
  return isQuarantineReason(reason) ? markup`${reason}` : markup`<code>${foreign(reason, 40)}</code>`;
}

export function code(text: string): Markup {
  return markup`<code>${text}</code>`;
}

/** Fingerprints, one after the other. */
export function fingerprints(keyIds: readonly string[]): Markup {
  if (keyIds.length === 0) return markup`<span class="soft">none</span>`;
  return markup`${keyIds.map((id, index) => [index === 0 ? '' : ', ', code(id)])}`;
}

/** A command for a shell, whose lines break between its words; the button shows only where a script can copy. */
export function command(text: string): Markup {
  const words = text.split(' ').map((word, index) => [index === 0 ? '' : ' ', markup`<span>${word}</span>`]);
  return markup`<div class="command"><pre><code>${words}</code></pre><button type="button" class="copy scripted" data-copy>Copy</button></div>`;
}

/** Names and values of the hidden fields come from us; `content` holds the fields and buttons. */
export function postForm(
  frame: Frame,
  action: string,
  content: Markup,
  hidden: Readonly<Record<string, string>> = {},
): Markup {
  const fields = Object.entries({ csrf: frame.csrf, ...hidden });
  return markup`<form method="post" action="/admin/${action}">${fields.map(
    ([name, value]) => markup`<input type="hidden" name="${name}" value="${value}">`,
  )}${content}</form>`;
}

/** An act that is asked about once more: `summary` opens it and then closes it again, `content` explains and has the form. */
export function confirm(summary: string, content: Markup, isDanger = false): Markup {
  return markup`<details class="confirm"><summary class="button${isDanger ? ' danger' : ''}"><span class="opens">${summary}</span><span class="closes">Keep it</span></summary><div class="asked">${content}</div></details>`;
}

/** Something to look up, folded; `id` keeps it open when the page refreshes itself. */
export function fold(id: string, summary: string, content: Markup): Markup {
  return markup`<details class="fold" id="${id}"><summary>${summary}</summary><div>${content}</div></details>`;
}

/** Names and values, side by side. */
export function facts(rows: readonly (readonly [name: string, value: Markup | string] | null)[]): Markup {
  const shown = rows.filter((row) => row !== null);
  return markup`<dl class="facts">${shown.map(([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** A box with a heading, in the colour of its tone. */
export function card(
  tone: Tone | 'plain' | 'accent',
  heading: string,
  content: Markup,
  mark: Markup = nothing,
): Markup {
  return markup`<section class="card ${tone}"><h2>${heading}${mark}</h2>${content}</section>`;
}

/** Links to the pages of a list; `address` is a path of ours with its query, to which the number is added. */
export function pager(name: string, current: number, pages: number, address: string): Markup {
  if (pages <= 1) return nothing;
  const link = (page: number, text: string, rel: string): Markup =>
    page < 1 || page > pages
      ? markup`<span class="soft">${text}</span>`
      : markup`<a class="button" rel="${rel}" href="${address}page=${page}">${text}</a>`;
  return markup`<nav class="pager" aria-label="${name}">${link(current - 1, 'Previous', 'prev')}<span>Page ${number(current)} of ${number(pages)}</span>${link(current + 1, 'Next', 'next')}</nav>`;
}
