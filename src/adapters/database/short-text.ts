/** Texts that fit a column: cut at a code point, and well formed. */

/** The first `charactersMax` code points of `text`; half a surrogate pair becomes U+FFFD. */
export function shorten(text: string, charactersMax: number): string {
  const whole = text.toWellFormed();
  if (whole.length <= charactersMax) return whole;
  // Two units make a character at most, so twice as many units hold enough of them.
  return [...whole.slice(0, charactersMax * 2)].slice(0, charactersMax).join('').toWellFormed();
}
