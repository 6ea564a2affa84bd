/**
 * A page that says one thing: not found, too large, the database is away.
 *
 * `isKnown`: whoever asks was signed in, as far as is known. `isRepeatable`: the same address may answer later.
 */
import type { Frame } from './frame.ts';
import { layout } from './layout.ts';
import { markup, nothing } from './markup.ts';

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
