/**
 * Lists a folder from a process of its own, page by page, and prints what its memory was: the server is in another one.
 *
 * Arguments: port. Prints one line of JSON (`ListingReport`).
 */
import { imapSessions } from '../../../src/adapters/imap/session.ts';
import { listingsAbove } from '../../../src/ingest/fetch/listing.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';

export type ListingReport = {
  readonly count: number;
  readonly lastUid: number;
  readonly isAscending: boolean;
  readonly largestPage: number;
  /** Growth over that of a process with an open session, in bytes. */
  readonly rssGrowth: number;
};

const options = { connectTimeoutMs: 5000, commandTimeoutMs: 30_000, literalBytesMax: 1000 };
const sessions = imapSessions(() => options);
const connection = {
  ...({ host: '127.0.0.1', port: Number(process.argv[2]), tls: 'none', user: 'ada', folder: 'INBOX' } as const),
  ...{ caPem: null, fingerprint: null, allowPlaintext: false },
};
const credential = { kind: 'password', secret: SecretBytes.take(Buffer.from('pw')) } as const;

await using session = await sessions.open(connection, credential, new AbortController().signal);
const before = process.memoryUsage().rss;
let [count, lastUid, isAscending, largestPage, peak] = [0, 0, true, 0, before];
for await (const uids of listingsAbove(session, 0)) {
  count += uids.length;
  largestPage = Math.max(largestPage, uids.length);
  for (const uid of uids) {
    isAscending &&= uid > lastUid;
    lastUid = uid;
  }
  peak = Math.max(peak, process.memoryUsage().rss);
}
const report: ListingReport = { count, lastUid, isAscending, largestPage, rssGrowth: peak - before };
process.stdout.write(`${JSON.stringify(report)}\n`);
