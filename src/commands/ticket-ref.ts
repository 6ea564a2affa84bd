/** A ticket's reference as people write it: `261124-7kq3mx`, `#261124-7KQ3MX`, `[#261124-7KQ3MX]`. */
export function referenceOf(text: string): string {
  return text
    .trim()
    .replace(/^\[?#?/, '')
    .replace(/\]$/, '')
    .toUpperCase();
}
