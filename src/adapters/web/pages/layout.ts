/**
 * Page layout: head, navigation, the signed-in admin, the flash of the last form, and one `main` element.
 *
 * A page that refreshes automatically says how often: the script fetches it and replaces the content of `main`; without
 * script the browser loads it again. What is outside `main` stays, except the flash, which is removed when the state
 * changes.
 */

import { html } from 'hono/html';
import type { AdminSession } from '../../../admin/service.ts';
import { asRunHere } from '../../../text/program-name.ts';

type NavigationItem = 'overview' | 'mailboxes' | 'quarantine' | 'encryption';

export type Refresh = {
  /** Without the script a refresh interrupts a person; null: there is none without it. */
  readonly seconds: number;
  readonly secondsWithoutScript: number | null;
  /** A path with its query, to which `refresh=1` is added. */
  readonly address: string;
  /** Spoken by screen readers whenever it changes. */
  readonly announce: string;
};

type Content = {
  readonly title: string;
  readonly navigation: NavigationItem | null;
  readonly main: Markup;
  readonly refresh?: Refresh | null;
  /** `narrow`: text to read rather than tables. */
  readonly width?: 'narrow' | 'wide' | 'slim';
};

/** The HTML of a whole page. */
export function layout(frame: Frame, content: Content): string {
  const { title, main, refresh = null, width = 'wide' } = content;
  const live =
    refresh === null ? nothing : markup` data-refresh="${refresh.seconds}" data-announce="${refresh.announce}"`;
  return String(markup`<!doctype html>
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
${header(frame, content.navigation)}
${flashMessage(frame)}
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

const navigation: readonly (readonly [NavigationItem, string, string])[] = [
  ['overview', '/admin/overview', 'Overview'],
  ['mailboxes', '/admin/mailboxes', 'Mailboxes'],
  ['quarantine', '/admin/quarantine', 'Quarantine'],
  ['encryption', '/admin/server/encryption', 'Server › Encryption'],
];

function header(frame: Frame, current: NavigationItem | null): Markup {
  const icon = markup`<img src="/admin/assets/icon.svg?v=${frame.assets}" alt="" width="24" height="24">`;
  if (frame.session === null) return markup`<header class="top"><span class="brand">${icon}ticketmaild</span></header>`;
  const links = navigation.map(([item, address, text]) => {
    const mark = item === current ? markup` aria-current="page"` : nothing;
    return markup`<li><a href="${address}"${mark}>${text}</a></li>`;
  });
  return markup`<header class="top"><a class="brand" href="/admin/overview">${icon}ticketmaild</a>
<nav aria-label="Pages"><ul>${links}</ul></nav>
<form class="who" method="post" action="/admin/sign-out"><input type="hidden" name="csrf" value="${frame.csrf}"><span><span class="unseen">Signed in as </span><bdi>${frame.session.name}</bdi></span><button type="submit">Sign out</button></form></header>`;
}

function flashMessage({ flash }: Frame): Markup {
  if (flash === null) return nothing;
  const role = flash.tone === 'bad' ? 'alert' : 'status';
  return markup`<div class="flash ${flash.tone}" role="${role}"><p>${flash.text}</p></div>`;
}

export type Frame = {
  /** null: no admin is signed in. */
  readonly session: AdminSession | null;
  /** The value of the hidden field `csrf`, also on the sign-in page. */
  readonly csrf: string;
  /** The result of the last form; shown once. */
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
 * Safe HTML as a type: the result of a template in which every text is escaped.
 *
 * `markup` is the only way to make it. It takes texts, numbers, markup and lists of these: an object, a promise or a
 * boolean in a template is a type error. Attributes are always quoted, so that escaping protects them too; a link
 * begins with a fixed path.
 */

declare const escaped: unique symbol;

export type Markup = { readonly [escaped]: true };

type Value = string | number | Markup | null | readonly Value[];

/** Texts are escaped (`& < > " '`), null is nothing, a list is its parts one after the other. */
export function markup(strings: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return html(strings, ...values.map(cleaned)) as unknown as Markup;
}

const noCharacters = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu;

export const nothing: Markup = markup``;

/** Replaces characters that HTML does not allow by U+FFFD. */
function cleaned(value: Value): Value {
  if (typeof value === 'string') return value.replace(noCharacters, '\ufffd');
  return Array.isArray(value) ? value.map(cleaned) : value;
}

/** Message page: not found, too large, database unavailable. `isKnown`: the client is signed in, or was. */
export function messagePage(
  frame: Frame,
  view: {
    readonly title: string;
    readonly text: string;
    readonly hint: string | null;
    readonly isKnown: boolean;
    /** The same address may show a page later. */
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
    hint === null ? nothing : markup`<p class="hint">${asRunHere(hint)}</p>`
  }${again}<p>${way}</p></section>`;
  return layout(frame, { title, navigation: null, width: 'slim', main });
}
