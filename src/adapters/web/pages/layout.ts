/**
 * What is around every page: head, navigation, who is signed in, what the last form led to, and the one `main`.
 *
 * A page that refreshes itself says how often: the script fetches it anew and exchanges what is in `main`; without script the
 * browser loads it again. What is outside of `main` stays; the message about the last form goes when the state is another one.
 */
import type { Frame } from './frame.ts';
import { type Markup, markup, nothing, textOf } from './markup.ts';

export type Place = 'overview' | 'quarantine' | 'encryption';

export type Refresh = {
  /** With the script, and without it, where it interrupts a person; null: without a script it does not. */
  readonly seconds: number;
  readonly secondsWithoutScript: number | null;
  /** A path of ours with its query, to which `refresh=1` is added. */
  readonly address: string;
  /** Told to those who listen, whenever it is another than before. */
  readonly announce: string;
};

export type Content = {
  readonly title: string;
  readonly place: Place | null;
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

const places: readonly (readonly [Place, string, string])[] = [
  ['overview', '/admin/overview', 'Overview'],
  ['quarantine', '/admin/quarantine', 'Quarantine'],
  ['encryption', '/admin/server/encryption', 'Server › Encryption'],
];

function header(frame: Frame, current: Place | null): Markup {
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
