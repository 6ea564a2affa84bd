/**
 * Lookup request: what all messages of a batch need to know of the database, in one.
 *
 * Ids, people, references and claims of all messages, each once. Pure.
 */

import type { ParsedMessage } from '../../mail/message.ts';
import type { ThreadKeys } from '../../mail/thread/keys.ts';
import { canParticipate, countedAddresses } from '../../mail/thread/people.ts';
import { tokenInMessageId } from '../../mail/thread/reply-token.ts';
import type { LookupRequest } from '../batch-lookup.ts';
import type { StoredMessage } from '../fetch/fetched-message.ts';
import type { BatchContext } from './batch-context.ts';
import { repeatSpan, senderSpan } from './loop-protection.ts';
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
    people: peopleOfBatch(messages.map(({ parsed }) => parsed)),
    answers: answersIn(all),
    refs: [...new Set([...tokens.map(({ ref }) => ref), ...mentions])],
    claims: [...new Map(tags.map((claim) => [`${claim.ref} ${claim.address}`, claim])).values()],
    dedupKeys: messages.map(({ dedupKey }) => dedupKey),
    own: messages.map(({ parsed: { messageId, contentHash, sentAtMs } }) => ({ messageId, contentHash, sentAtMs })),
    repeats: repeatSpan(messages),
    senders: senderSpan(messages, context),
    closedBeforeMs: closedBefore(
      messages.map(({ arrivedAtMs }) => arrivedAtMs),
      context.rules,
    ),
    needsReplyKeys: tokens.length > 0,
  };
}

/** Mail servers take part in no ticket: their reports name the id all the same. */
function answersIn(all: readonly ThreadKeys[]): LookupRequest['answers'] {
  const senders = new Map<string, Set<string>>();
  for (const { referencedIds, sender } of all)
    for (const { id } of referencedIds) {
      const known = senders.get(id) ?? new Set();
      senders.set(id, canParticipate(sender) ? known.add(sender) : known);
    }
  return [...senders].map(([id, addresses]) => ({ id, senders: [...addresses] }));
}

/** Of all messages together: parameters of one statement. */
const peopleMax = 1000;

/** First the senders of all messages, then a recipient of each, so that a circular takes no place from others. */
function peopleOfBatch(messages: readonly ParsedMessage[]): readonly string[] {
  const lists = messages.map(({ from, replyTo, to, cc }) =>
    countedAddresses([...(from === null ? [] : [from]), ...replyTo.slice(0, 1), ...to, ...cc]),
  );
  const people = new Set<string>();
  const longest = lists.reduce((length, list) => Math.max(length, list.length), 0);
  for (let place = 0; place < longest; place += 1) {
    for (const list of lists) {
      const address = list[place];
      if (people.size < peopleMax && address !== undefined) people.add(address);
    }
  }
  return [...people];
}
