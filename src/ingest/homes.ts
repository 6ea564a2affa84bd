/**
 * Which worker a mailbox is at home with: every worker works it out alike, without asking another one.
 *
 * Rendezvous hashing: of the live workers, the one whose name gives the highest number together with the mailbox. Mailboxes
 * spread evenly, and when a worker comes or goes, only those move that it gets or had. It is a preference, not a right: the
 * lease decides, and a mailbox that its home leaves waiting is anybody's. Pure.
 */

const offsetBasis = 0x811c9dc5;
const prime = 0x01000193;

/** null when there is no worker. */
export function homeOf(mailboxId: string, workers: readonly string[]): string | null {
  let home: string | null = null;
  let highest = -1;
  for (const worker of workers) {
    const number = mixed(hashed(`${mailboxId}\n${worker}`));
    if (number < highest || (number === highest && home !== null && worker > home)) continue;
    highest = number;
    home = worker;
  }
  return home;
}

/** FNV-1a, 32 bits, over UTF-16 units. */
function hashed(text: string): number {
  let hash = offsetBasis;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), prime);
  return hash >>> 0;
}

/** Names of workers differ in a few digits: every bit of them must reach the highest ones. */
function mixed(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
