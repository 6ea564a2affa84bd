/**
 * What is around every page: head, navigation, who is signed in, what the last form led to, and the one `main`.
 *
 * A page that refreshes itself says how often: the script fetches it anew and exchanges what is in `main`; without script the
 * browser loads it again. What is outside of `main` stays; the message about the last form goes when the state is another one.
 */

import { html } from 'hono/html';
import type { AdminSession } from '../../../admin/service.ts';

type NavigationItem = 'overview' | 'quarantine' | 'encryption';

export type Refresh = {
  /** With the script, and without it, where it interrupts a person; null: without a script it does not. */
  readonly seconds: number;
  readonly secondsWithoutScript: number | null;
  /** A path of ours with its query, to which `refresh=1` is added. */
  readonly address: string;
  /** Told to those who listen, whenever it is another than before. */
  readonly announce: string;
};

type Content = {
  readonly title: string;
  readonly place: NavigationItem | null;
  readonly main: Markup;
  readonly refresh?: Refresh | null;
  /** `narrow`: text to read rather than tables. */
  readonly width?: 'narrow' | 'wide' | 'slim';
};

/** A whole page, to be sent. */
export function layout(frame: Frame, content: Content): string {
  const { title, main, refresh = null, width = 'wide' } = content;
  const live =
    refresh === null ? nothing : markup` data-refresh="${refresh.seconds}" data-announce="${refresh.announce}"`;
  return textOf(markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${title} · ticketmaild</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" type="image/svg+xml" href="/admin/assets/icon.svg?v=${frame.assets}">
<link rel="stylesheet" href="/admin/assets/admin.css?v=${frame.assets}">
<script type="module" src="/admin/assets/admin.js?v=${frame.assets}"></script>
${refresh === null ? nothing : withoutScript(refresh)}</head>
<body class="${width}">
<a class="skip" href="#main">Skip to the content</a>
${header(frame, content.place)}
${flash(frame)}
<p id="notice" class="notice" role="status" hidden></p>
<div id="live" class="unseen" role="status"></div>
<main id="main" tabindex="-1"${live}>
${main}
</main>
</body>
</html>
`);
}

function withoutScript({ secondsWithoutScript, address }: Refresh): Markup {
  if (secondsWithoutScript === null) return nothing;
  const joint = address.includes('?') ? '&' : '?';
  return markup`<noscript><meta http-equiv="refresh" content="${secondsWithoutScript};url=${address}${joint}refresh=1"></noscript>
`;
}

const places: readonly (readonly [NavigationItem, string, string])[] = [
  ['overview', '/admin/overview', 'Overview'],
  ['quarantine', '/admin/quarantine', 'Quarantine'],
  ['encryption', '/admin/server/encryption', 'Server › Encryption'],
];

function header(frame: Frame, current: NavigationItem | null): Markup {
  const icon = markup`<img src="/admin/assets/icon.svg?v=${frame.assets}" alt="" width="24" height="24">`;
  if (frame.session === null) return markup`<header class="top"><span class="brand">${icon}ticketmaild</span></header>`;
  const links = places.map(([place, address, text]) => {
    const mark = place === current ? markup` aria-current="page"` : nothing;
    return markup`<li><a href="${address}"${mark}>${text}</a></li>`;
  });
  return markup`<header class="top"><a class="brand" href="/admin/overview">${icon}ticketmaild</a>
<nav aria-label="Pages"><ul>${links}</ul></nav>
<form class="who" method="post" action="/admin/sign-out"><input type="hidden" name="csrf" value="${frame.csrf}"><span><span class="unseen">Signed in as </span><bdi>${frame.session.name}</bdi></span><button type="submit">Sign out</button></form></header>`;
}

function flash({ flash: told }: Frame): Markup {
  if (told === null) return nothing;
  const role = told.tone === 'bad' ? 'alert' : 'status';
  return markup`<div class="flash ${told.tone}" role="${role}"><p>${told.text}</p></div>`;
}

/** What every page of the admin has around its content, as a value. */

export type Frame = {
  /** null: nobody is signed in. */
  readonly session: AdminSession | null;
  /** The value of the hidden field `csrf`, also on the sign-in page. */
  readonly csrf: string;
  /** What the form that was sent before led to; shown once. */
  readonly flash: Flash | null;
  /** A version of the assets, for their addresses (`admin.css?v=…`). */
  readonly assets: string;
  /** When the page was made, in milliseconds since 1970 (UTC). */
  readonly atMs: number;
};

export type Flash = { readonly tone: 'good' | 'bad'; readonly text: string };

/** Boxes that were ticked when the form was refused, so that they stay ticked. */
export type EnableForm = { readonly keyLoss: boolean; readonly backup: boolean };

/**
 * Markup as a type: what a template of ours made, in which every text that came from elsewhere is escaped.
 *
 * `markup` is the only way to make it, and takes nothing but texts, numbers, markup and lists of these: an object, a promise
 * or a truth value in a template is an error of types. Attributes are always quoted, so that escaping holds in them too;
 * an address begins with a path of ours.
 */

declare const made: unique symbol;

export type Markup = { readonly [made]: true };

type Value = string | number | Markup | null | readonly Value[];

/** Texts are escaped (`& < > " '`), null is nothing, a list is its parts one after the other. */
export function markup(strings: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return html(strings, ...values.map(cleaned)) as unknown as Markup;
}

const noCharacters = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu;

export const nothing: Markup = markup``;

/** Markup to be sent. */
function textOf(page: Markup): string {
  return String(page);
}

/** Characters that HTML does not allow, in what a stranger wrote, become U+FFFD. */
function cleaned(value: Value): Value {
  if (typeof value === 'string') return value.replace(noCharacters, '\ufffd');
  return Array.isArray(value) ? value.map(cleaned) : value;
}

/**
 * A page that says one thing: not found, too large, the database is away.
 *
 * `isKnown`: whoever asks was signed in, as far as is known. `isRepeatable`: the same address may answer later.
 */

export function messagePage(
  frame: Frame,
  view: {
    readonly title: string;
    readonly text: string;
    readonly hint: string | null;
    readonly isKnown: boolean;
    readonly isRepeatable: boolean;
  },
): string {
  const { title, text, hint, isKnown, isRepeatable } = view;
  const way = isKnown
    ? markup`<a href="/admin/overview">Back to the overview</a>`
    : markup`<a href="/admin/sign-in">Go to the sign-in</a>`;
  // An address without a word is that of the page itself (RFC 3986 section 4.4).
  const again = isRepeatable ? markup`<p><a class="button" href="">Try again</a></p>` : nothing;
  const main = markup`<section class="card lone"><h1>${title}</h1><p>${text}</p>${
    hint === null ? nothing : markup`<p class="hint">${hint}</p>`
  }${again}<p>${way}</p></section>`;
  return layout(frame, { title, place: null, width: 'slim', main });
}
