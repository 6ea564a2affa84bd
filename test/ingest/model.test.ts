/** Rules of the outcomes: what a record per outcome cannot say to the compiler. */
import { expect, test } from 'vitest';
import { eventDefinitions } from '../../src/events.ts';
import { allOutcomes, noOutcomes, outcomeRules } from '../../src/ingest/model.ts';

test('the event poll.finished has a count of each outcome', () => {
  const fields = eventDefinitions.find(({ name }) => name === 'poll.finished')?.fields ?? [];
  expect(fields.slice(-allOutcomes.length)).toEqual(allOutcomes);
  expect(Object.keys(noOutcomes())).toEqual(allOutcomes);
});

test('a message on a ticket is stored, a stored one was received and makes the next one a duplicate', () => {
  for (const name of allOutcomes) {
    const { isReceived, isStored, isOnTicket, handledAs } = outcomeRules[name];
    expect({ name, isStored: isStored || !isOnTicket }).toEqual({ name, isStored: true });
    expect({ name, isReceived: isReceived || !isStored }).toEqual({ name, isReceived: true });
    if (isStored) expect({ name, handledAs }).toEqual({ name, handledAs: 'stored' });
  }
});
