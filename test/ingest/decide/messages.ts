/** Sample messages for tests of the decision rules; every field can be given. */
import type { StoredMessage } from '../../../src/ingest/fetch/fetched-message.ts';
import { fingerprintMessage } from '../../../src/mail/fingerprint.ts';
import type { ParsedMessage } from '../../../src/mail/message.ts';

function parsedMessage(given: Partial<ParsedMessage> = {}): ParsedMessage {
  return {
    messageId: 'one@example.test',
    messageIdMissing: false,
    inReplyTo: [],
    references: [],
    from: { name: 'Ada', address: 'ada@example.test' },
    replyTo: [],
    to: [{ name: 'Support', address: 'support@example.test' }],
    cc: [],
    subject: 'The printer',
    sentAtMs: 1_700_000_000_000,
    text: 'It does not print.\n',
    html: null,
    headers: [],
    kind: 'human',
    bounce: null,
    reportedMessageId: null,
    marks: [],
    protection: null,
    attachments: [],
    contentHash: 'a'.repeat(64),
    ...given,
  };
}

export function storedMessage(uid: number, given: Partial<ParsedMessage> = {}): StoredMessage {
  return {
    uid,
    sizeBytes: 1000,
    receivedAtMs: 1_700_000_000_000 + uid,
    what: 'parsed',
    ...fingerprintMessage(
      parsedMessage({
        ...{ messageId: `${uid}@example.test`, contentHash: String(uid).padStart(64, '0') },
        ...{ text: `Printer ${uid} does not print.\n`, ...given },
      }),
    ),
    raw: { segment: '20261124-a.zst', offset: uid, lengthBytes: 10, sha256: 'b'.repeat(64) },
  };
}
