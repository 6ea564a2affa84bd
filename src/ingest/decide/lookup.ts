/** What the mails of a window ask of the database, all of them together. Pure. */

import { canParticipate } from '../../mail/thread/match.ts';
import { tokenInMessageId } from '../../mail/thread/reply-token.ts';
import type { StoredMessage } from '../fetch/fetched-message.ts';
import type { LookupRequest } from '../model.ts';
import type { BatchContext } from './batch-context.ts';
import { senderSpan } from './loop-protection.ts';
import { closedBefore } from './ticket-relations.ts';

export function lookupRequestFor(arrivals: readonly StoredMessage[], maker: BatchContext): LookupRequest {
  const mails = arrivals.flatMap((arrival) => {
    if (arrival.what !== 'parsed') return [];
    const { parsed, threadKeys, dedupKey, receivedAtMs } = arrival;
    return [{ parsed, threadKeys, dedupKey, arrivedAtMs: receivedAtMs ?? maker.nowMs }];
  });
  const all = mails.map(({ threadKeys }) => threadKeys);
  const tokens = all.flatMap(({ ownToken, recipientTokens, referencedIds }) => [
    ...recipientTokens,
    ...[ownToken, ...referencedIds.map(({ id }) => tokenInMessageId(id))].filter((token) => token !== null),
  ]);
  const tags = all.flatMap(({ subjectTags, textTags, sender }) =>
    !canParticipate(sender) ? [] : [...subjectTags, ...textTags].map((ref) => ({ ref, address: sender })),
  );
  const mentions = all.flatMap((threadKeys) => [
    ...threadKeys.subjectTags,
    ...threadKeys.textTags,
    ...threadKeys.mentions,
  ]);
  const ids = all.flatMap(({ messageId, referencedIds }) => [messageId, ...referencedIds.map(({ id }) => id)]);
  return {
    mailboxId: maker.mailboxId,
    messageIds: [...new Set(ids)],
    refs: [...new Set([...tokens.map(({ ref }) => ref), ...mentions])],
    claims: [...new Map(tags.map((claim) => [`${claim.ref} ${claim.address}`, claim])).values()],
    dedupKeys: mails.map(({ dedupKey }) => dedupKey),
    senders: senderSpan(mails, maker),
    closedBeforeMs: closedBefore(
      mails.map(({ arrivedAtMs }) => arrivedAtMs),
      maker.rules,
    ),
    needsReplyKey: tokens.length > 0,
  };
}
