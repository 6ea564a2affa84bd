/**
 * Masking of URLs with user information (RFC 3986 section 3.2.1) in quoted configuration: a password may be in it.
 *
 * A stray `@` or `/` in a password can put a part of it anywhere, so all after the scheme is masked, to the end of the
 * text.
 */
export function withoutUserInformation(text: string): string {
  return text.replace(/\b([a-z][a-z0-9+.-]*):\/\/.*@.*$/is, '$1://(not shown, as it may contain a password)');
}
