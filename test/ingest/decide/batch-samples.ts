/** Sample lookup results and batch contexts for tests of the decision rules. */

import type { LookupFacts, LookupMessage, LookupTicket } from '../../../src/ingest/batch-lookup.ts';
import type { BatchContext } from '../../../src/ingest/decide/batch-context.ts';
import type { MessagePeople } from '../../../src/mail/thread/people.ts';
import { openReplyKeys } from '../../../src/secret/reply-key.ts';

export function batchContext(given: Partial<BatchContext> = {}): BatchContext {
  let ids = 0;
  let refs = 0;
  return {
    mailboxId: 'box',
    addresses: ['support@example.test'],
    nowMs: 1_800_000_000_000,
    hasPostAction: true,
    isReleased: false,
    rules: { senderPerHourMax: null, senderExempt: [], reopenMs: null },
    newId: () => `id${++ids}`,
    newRef: () => `ref${++refs}`,
    openReplyKeys: async (stored) => openReplyKeys(stored, []),
    ...given,
  };
}

export function lookupTicket(given: Partial<LookupTicket> = {}): LookupTicket {
  return {
    id: 't0',
    ref: '261124-AAAAAA',
    mailboxId: 'box',
    status: 'open',
    createdAtMs: 1_600_000_000_000,
    closedAtMs: null,
    isOrphan: false,
    requesterAddress: 'req@example.test',
    ...given,
  };
}

export function lookupMessage(given: Partial<LookupMessage> = {}): LookupMessage {
  return {
    id: 'm0',
    mailboxId: 'box',
    messageId: 'old@example.test',
    contentHash: 'c'.repeat(64),
    people: people('ada@example.test', 'support@example.test'),
    ticket: lookupTicket(),
    copied: null,
    ...given,
  };
}

/** The people of a message of a person. */
export function people(from: string, ...recipients: readonly string[]): MessagePeople {
  return { kind: 'human', from, fromName: '', replyTo: [], recipients, failed: [], areAllCounted: true };
}

/** A lookup that found this and nothing else. */
export function lookupResult(given: Partial<LookupFacts> = {}): LookupFacts {
  return {
    messages: [],
    naming: [],
    sentMessages: [],
    tickets: [],
    participants: [],
    continuations: [],
    handled: [],
    repeated: [],
    sent: [],
    tied: [],
    ticketPeople: [],
    addedAtMs: 0,
    ownAddresses: new Set(),
    accountMailboxes: new Set(),
    replyKeys: [],
    ...given,
  };
}
