/** Whole numbers given on a command line. Anything else throws a sentence that names the option. */

export function wholeNumber(option: string, text: string, least = 0): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new TypeError(`${option} takes a whole number from ${least} on, not ${text}`);
}
