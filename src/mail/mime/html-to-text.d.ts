/** Types of html-to-text, which ships none: as much as `html.ts` uses. */
declare module 'html-to-text' {
  type Selector = { selector: string; format?: string; options?: Record<string, unknown> };
  type Options = { wordwrap?: number | false; selectors?: Selector[]; limits?: { maxDepth?: number } };
  export function compile(options: Options): (html: string) => string;
}
