/** Lookup request: what all messages of a batch need to know of the database, in one. Pure. */

import { canParticipate } from '../../mail/thread/people.ts';
import { tokenInMessageId } from '../../mail/thread/reply-token.ts';
import type { LookupRequest } from '../batch-lookup.ts';
import type { StoredMessage } from '../fetch/fetched-message.ts';
import type { BatchContext } from './batch-context.ts';
import { senderSpan } from './loop-protection.ts';
import { closedBefore } from './ticket-relations.ts';

export function lookupRequestFor(batch: readonly StoredMessage[], context: BatchContext): LookupRequest {
  const messages = batch.flatMap((message) => {
    if (message.what !== 'parsed') return [];
    const { parsed, threadKeys, dedupKey, receivedAtMs } = message;
    return [{ parsed, threadKeys, dedupKey, arrivedAtMs: receivedAtMs ?? context.nowMs }];
  });
  const all = messages.map(({ threadKeys }) => threadKeys);
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
    mailboxId: context.mailboxId,
    messageIds: [...new Set(ids)],
    refs: [...new Set([...tokens.map(({ ref }) => ref), ...mentions])],
    claims: [...new Map(tags.map((claim) => [`${claim.ref} ${claim.address}`, claim])).values()],
    dedupKeys: messages.map(({ dedupKey }) => dedupKey),
    senders: senderSpan(messages, context),
    closedBeforeMs: closedBefore(
      messages.map(({ arrivedAtMs }) => arrivedAtMs),
      context.rules,
    ),
    needsReplyKeys: tokens.length > 0,
  };
}
