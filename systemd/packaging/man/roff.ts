/** Macros of man(7) (groff_man(7), mandoc_man(7)): text is escaped, so that it is never taken for a request. */

export type PageFacts = { readonly version: string; readonly date: string };

/** A text in lines of the source, without a meaning for roff; lines are broken behind sentences as is usual there. */
export function roffText(text: string): string {
  return text
    .trim()
    .replaceAll(/([.;:!?]) +(?=[A-Z])/g, '$1\n')
    .split('\n')
    .map((line) => escaped(line.trim()))
    .join('\n');
}

/** A literal in bold, as part of a text. */
export function bold(text: string): string {
  return `\\fB${escaped(text)}\\fR`;
}

/** A placeholder in italics, as part of a text. */
export function italic(text: string): string {
  return `\\fI${escaped(text)}\\fR`;
}

export function head({ version, date }: PageFacts, name: string, section: number): string {
  return `.\\" Generated from the sources by systemd/packaging/man-pages.ts.\n.TH ${name} ${section} ${date} "ticketmaild ${version}" "ticketmaild"\n.nh\n.ad l`;
}

export function section(title: string, ...parts: readonly string[]): string {
  return [`.SH ${quoted(title.toUpperCase())}`, ...parts].join('\n');
}

export function subsection(title: string, ...parts: readonly string[]): string {
  return [`.SS ${quoted(title)}`, ...parts].join('\n');
}

/** Paragraphs; their text is roff already. */
export function paragraphs(...texts: readonly string[]): string {
  return texts.join('\n.PP\n');
}

/** An entry of a list: a term in a line of its own, and what it means. */
export function entry(term: string, meaning: string): string {
  return `.TP\n${term}\n${meaning}`;
}

/** Lines to copy, as they are, indented by `indent` columns; empty: as the text of an entry. */
export function example(lines: readonly string[], indent = '4'): string {
  return [
    '.PP',
    `.RS ${indent}`.trim(),
    '.nf',
    ...lines.flatMap((line) => line.split('\n')).map(escaped),
    '.fi',
    '.RE',
  ].join('\n');
}

function quoted(title: string): string {
  return `"${escaped(title).replaceAll('"', '\\(dq')}"`;
}

/** A hyphen-minus stays one, so that options can be searched for and copied. */
function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replaceAll('…', '...')
    .replace(/^\./, '\\&.');
}
