/**
 * Components of the pages as pure functions from values to markup: badges, times, commands, forms, collapsible parts,
 * pagers.
 *
 * A status colour never stands alone: the same is said in words and by a shape.
 */

import { describeReason, isQuarantineReason } from '../../../ingest/quarantine/reasons.ts';
import { capitalized } from '../../../text/printable.ts';
import { asRunHere } from '../../../text/program-name.ts';
import { isoTime } from '../../../text/time.ts';
import { spanText } from '../../../text/units.ts';
import type { Frame } from './layout.ts';
import { type Markup, markup, nothing } from './layout.ts';

export type Tone = 'good' | 'bad' | 'warn' | 'idle' | 'unknown' | 'busy';

/** A state in one or two words. */
export function badge(tone: Tone, text: string): Markup {
  return markup`<span class="badge ${tone}">${text}</span>`;
}

/**
 * `2026-01-31 08:30:00`; an invalid time is `unknown`, null is `never`. The text is in UTC; the script replaces it by
 * the time of the browser's zone.
 */
export function timestamp(at: number | string | null): Markup {
  if (at === null) return markup`<span class="soft">never</span>`;
  const iso = isoSeconds(at);
  if (iso === null) return markup`<span class="soft">unknown</span>`;
  return markup`<time datetime="${iso}" data-local="date">${iso.slice(0, 19).replace('T', ' ')}</time>`;
}

/** `UTC`; the script writes the browser's zone. */
export const zone: Markup = markup`<span data-zone>UTC</span>`;

/** ISO 8601 with seconds; null for an invalid time. A text has the form of `isoTime`. */
function isoSeconds(at: number | string): string | null {
  const iso = typeof at === 'string' ? at : (isoTime(at) ?? '');
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(iso) ? `${iso.slice(0, 19)}Z` : null;
}

/** With its time zone, for a sentence. */
export function timestampUtc(at: number | string | null): Markup {
  if (at === null || isoSeconds(at) === null) return timestamp(at);
  return markup`<span class="nowrap">${timestamp(at)} ${zone}</span>`;
}

/** The time of a page that refreshes automatically. */
export function asOf(atMs: number): Markup {
  return markup`<p class="asof">As of ${timestampUtc(atMs)}<span class="scripted" data-live> · refreshes automatically</span></p>`;
}

/** The time of day if it is the day of `nowMs`, else the date too; and the distance from `nowMs`. */
export function timeOfDay(atMs: number | null, nowMs: number): Markup {
  const iso = atMs === null ? null : isoSeconds(atMs);
  if (atMs === null || iso === null) return timestamp(atMs);
  const [day = '', clock = ''] = iso.slice(0, 19).split('T');
  const shown = isoTime(nowMs)?.startsWith(day) === true ? clock : `${day} ${clock}`;
  return markup`<time datetime="${iso}" data-local="day">${shown}</time> <small>${distance(atMs - nowMs)}</small>`;
}

/** Hour and minute. */
export function clockTime(atMs: number): Markup {
  const iso = isoSeconds(atMs) ?? '';
  return markup`<time datetime="${iso}" data-local="clock">${iso.slice(11, 16)}</time>`;
}

/** The distance from `nowMs`, such as `33 s ago`; the time itself is its tooltip. */
export function relativeTime(atMs: number | null, nowMs: number): Markup {
  const iso = atMs === null ? null : isoSeconds(atMs);
  return atMs === null || iso === null
    ? timestamp(atMs)
    : markup`<time datetime="${iso}" title="${iso.slice(0, 19).replace('T', ' ')} UTC">${distance(atMs - nowMs)}</time>`;
}

/** `33 s ago`, `in 5 min`. */
function distance(ms: number): string {
  const text = spanText(Math.abs(ms));
  if (Math.abs(ms) < 1000) return 'now';
  return ms < 0 ? `${text} ago` : `in ${text}`;
}

/** `1 password`, `2,000 passwords`. */
export function countOf(count: number, word: string, plural = `${word}s`): string {
  return `${formatNumber(count)} ${count === 1 ? word : plural}`;
}

export function formatNumber(count: number): string {
  return count.toLocaleString('en-GB');
}

/** `512 bytes`, `1.4 MB`; 1 kB is 1000 bytes. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return countOf(bytes, 'byte');
  const units = ['kB', 'MB', 'GB'];
  let value = bytes / 1000;
  while (value >= 999.5 && units.length > 1) {
    value /= 1000;
    units.shift();
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[0]}`;
}

/** `1 MB`, `2.3 MB`, as limits of the configuration count: 1 MB is 1,048,576 bytes. */
export function formatMegabytes(bytes: number): string {
  const value = bytes / 1_048_576;
  return `${Number.isInteger(value) ? value : Math.max(0.1, value).toFixed(1)} MB`;
}

/** Bidirectional overrides make a sender or a file name look like another one (Unicode Technical Report 36). */
const directionOverrides = /[\u202a-\u202e\u2066-\u2069]/gu;

/** Text of a stranger, isolated from the direction and width of its surroundings, cut at `max` characters. */
export function untrustedText(text: string, max = 300): Markup {
  const characters = [...text.slice(0, max * 2 + 2)];
  const shown = characters.length > max ? `${characters.slice(0, max).join('')}…` : text;
  return markup`<bdi class="foreign">${shown.replace(directionOverrides, '\ufffd')}</bdi>`;
}

/** Text from a table or a server, in quotation marks. */
export function quotation(text: string): Markup {
  return markup`<q>${untrustedText(text, 300)}</q>`;
}

/** Without the code of the failure, which is for logs and scripts; a code alone stays. */
export function inPlainWords(reason: string): string {
  if (/^[a-z_]+$/.test(reason)) return reason;
  const [, text = reason] = /^[a-z]+(?:_[a-z]+)+: (.+)$/s.exec(reason) ?? [];
  return capitalized(text);
}

/** Why a message is in quarantine. A reason that this version does not know is untrusted text from the table. */
export function reasonName(reason: string): Markup {
  return isQuarantineReason(reason)
    ? markup`${describeReason(reason).title}`
    : markup`<code>${untrustedText(reason, 40)}</code>`;
}

export function code(text: string): Markup {
  return markup`<code>${text}</code>`;
}

/** Fingerprints, one after the other. */
export function fingerprints(keyIds: readonly string[]): Markup {
  if (keyIds.length === 0) return markup`<span class="soft">none</span>`;
  return markup`${keyIds.map((id, index) => [index === 0 ? '' : ', ', code(id)])}`;
}

/** What an operator can do. A text of this program, whose commands are shown as they run on this host. */
export function hintParagraph(text: string): Markup {
  return markup`<p class="hint">${asRunHere(text)}</p>`;
}

/** A command within a sentence, as it runs on this host. */
export function inlineCommand(text: string): Markup {
  return code(asRunHere(text));
}

/**
 * A command for a shell, as it runs on this host, whose lines break between its words; the button shows only where a
 * script can copy.
 */
export function command(text: string): Markup {
  const words = asRunHere(text)
    .split(' ')
    .map((word, index) => [index === 0 ? '' : ' ', markup`<span>${word}</span>`]);
  return markup`<div class="command"><pre><code>${words}</code></pre><button type="button" class="copy scripted" data-copy>Copy</button></div>`;
}

/** A form with its CSRF token; `content` holds the visible fields and buttons. */
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

/**
 * An action that needs a second click: `summary` opens the explanation, below which `form` and Cancel stand side by
 * side.
 */
export function confirmation(summary: string, explanation: Markup, form: Markup, isDanger = false): Markup {
  const style = isDanger ? ' danger' : '';
  return markup`<details class="confirm"><summary class="button${style}">${summary}</summary><div class="asked">${explanation}<div class="buttons">${form}<button type="button" class="scripted" data-close>Cancel</button></div></div></details>`;
}

/** A collapsed part; `id` keeps it open across an automatic refresh. */
export function collapsible(id: string, summary: string, content: Markup): Markup {
  return markup`<details class="fold" id="${id}"><summary>${summary}</summary><div>${content}</div></details>`;
}

/** Names and values, side by side; `style` `pairs`: two of them in a line of a wide window. */
export function definitionList(
  rows: readonly (readonly [name: string, value: Markup | string] | null)[],
  style: 'lines' | 'pairs' = 'lines',
): Markup {
  const shown = rows.filter((row) => row !== null);
  return markup`<dl class="facts ${style}">${shown.map(([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
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

/** Links to the pages of a list; `address` is a path with its query, to which the number is added. */
export function pager(name: string, current: number, pages: number, address: string): Markup {
  if (pages <= 1) return nothing;
  const link = (page: number, text: string, rel: string): Markup =>
    page < 1 || page > pages
      ? markup`<span class="soft">${text}</span>`
      : markup`<a class="button" rel="${rel}" href="${address}page=${page}">${text}</a>`;
  return markup`<nav class="pager" aria-label="${name}">${link(current - 1, 'Previous', 'prev')}<span>Page ${formatNumber(current)} of ${formatNumber(pages)}</span>${link(current + 1, 'Next', 'next')}</nav>`;
}
