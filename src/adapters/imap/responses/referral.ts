/**
 * Login referrals (RFC 2221): reads the host from the IMAP URL (RFC 5092) of a response code REFERRAL.
 *
 * The host is only shown to an operator. Nothing connects to it: a password goes to the host of its mailbox alone.
 */

/** Before it: tag, status and user. After it: a path, or the end of the URL. */
const referral =
  /^[^ ]+ (?:OK|NO|BAD|BYE) \[REFERRAL imaps?:\/\/(?:[^@/ ]*@)?([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?[/\]]/i;
const lineBytesMax = 1000;

/** `mail2.example.org`, `mail2.example.org:1993`; null: the line has no referral, or one to no plain host. */
export function referredHost(line: Buffer): string | null {
  const [, host, port = ''] = referral.exec(line.toString('latin1', 0, lineBytesMax)) ?? [];
  return host === undefined ? null : host + port;
}
