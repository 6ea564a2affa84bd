/**
 * Markup as a type: what a template of ours made, in which every text that came from elsewhere is escaped.
 *
 * `markup` is the only way to make it, and takes nothing but texts, numbers, markup and lists of these: an object, a promise
 * or a truth value in a template is an error of types. Attributes are always quoted, so that escaping holds in them too;
 * an address begins with a path of ours.
 */
import { html } from 'hono/html';

declare const made: unique symbol;

export type Markup = { readonly [made]: true };

type Value = string | number | Markup | null | readonly Value[];

/** Texts are escaped (`& < > " '`), null is nothing, a list is its parts one after the other. */
export function markup(strings: TemplateStringsArray, ...values: readonly Value[]): Markup {
  return html(strings, ...values.map(cleaned)) as unknown as Markup;
}

export const nothing: Markup = markup``;

/** Markup to be sent. */
export function textOf(page: Markup): string {
  return String(page);
}

const noCharacters = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu;

/** Characters that HTML does not allow, in what a stranger wrote, become U+FFFD. */
function cleaned(value: Value): Value {
  if (typeof value === 'string') return value.replace(noCharacters, '\ufffd');
  return Array.isArray(value) ? value.map(cleaned) : value;
}
