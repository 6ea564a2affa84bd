/** What the mails of a window ask of the database, all of them together. Pure. */

import { canTakePart } from '../../mail/thread/match.ts';
import { tokenInMessageId } from '../../mail/thread/reply-token.ts';
import type { Kept } from '../fetch/store-files.ts';
import type { Question } from '../model.ts';
import type { Maker } from './batch-context.ts';
import { senderSpan } from './loop-protection.ts';
import { overBefore } from './ticket-relations.ts';

export function questionOf(arrivals: readonly Kept[], maker: Maker): Question {
  const mails = arrivals.flatMap((arrival) => {
    if (arrival.what !== 'mail') return [];
    const { parsed, clues, identity, receivedAtMs } = arrival;
    return [{ parsed, clues, identity, arrivedAtMs: receivedAtMs ?? maker.nowMs }];
  });
  const all = mails.map(({ clues }) => clues);
  const tokens = all.flatMap(({ ownToken, recipientTokens, named }) => [
    ...recipientTokens,
    ...[ownToken, ...named.map(({ id }) => tokenInMessageId(id))].filter((token) => token !== null),
  ]);
  const tags = all.flatMap(({ subjectTags, textTags, sender }) =>
    !canTakePart(sender) ? [] : [...subjectTags, ...textTags].map((ref) => ({ ref, address: sender })),
  );
  const mentions = all.flatMap((clues) => [...clues.subjectTags, ...clues.textTags, ...clues.mentions]);
  const ids = all.flatMap(({ ownId, named }) => [ownId, ...named.map(({ id }) => id)]);
  return {
    mailboxId: maker.mailboxId,
    messageIds: [...new Set(ids)],
    refs: [...new Set([...tokens.map(({ ref }) => ref), ...mentions])],
    claims: [...new Map(tags.map((claim) => [`${claim.ref} ${claim.address}`, claim])).values()],
    identities: mails.map(({ identity }) => identity),
    senders: senderSpan(mails, maker),
    overBeforeMs: overBefore(
      mails.map(({ arrivedAtMs }) => arrivedAtMs),
      maker.rules,
    ),
    asksKey: tokens.length > 0,
  };
}
