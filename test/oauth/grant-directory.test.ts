/** Grant lookup: an application's is read once a second, a person's and one in trouble each time. */
import { expect, test } from 'vitest';
import { recentGrants } from '../../src/oauth/grant-directory.ts';
import type { Grant } from '../../src/oauth/model.ts';
import { provider } from './scene.ts';

const ready: Grant = {
  ...{ id: 'id', name: 'desk', provider: 'desk', flow: 'application', account: null, state: 'ready', stateSinceMs: 0 },
  ...{ errorCode: null, errorMessage: null, retryInMs: null, cutOffAtMs: null },
};

function reading(grant: Grant) {
  const at = { ms: 0, reads: 0 };
  const grantByName = async () => {
    at.reads += 1;
    return grant;
  };
  const store = recentGrants({ grantByName, ensureGrant: async () => grant }, { monotonicMs: () => at.ms });
  return { at, store };
}

test('a grant of an application is read once a second', async () => {
  const { at, store } = reading(ready);
  for (const ms of [0, 999, 1000, 1999, 2000]) {
    at.ms = ms;
    expect(await store.grantByName('desk')).toBe(ready);
  }
  expect(at.reads).toBe(3);
});

test('one that is converted is read again', async () => {
  const { at, store } = reading(ready);
  await store.grantByName('desk');
  await store.ensureGrant('desk', provider());
  await store.grantByName('desk');
  expect(at.reads).toBe(2);
});

test.each<Partial<Grant>>([{ flow: 'person' }, { state: 'refused' }, { state: 'needs_consent' }])(
  'one with %o is read each time',
  async (changes) => {
    const { at, store } = reading({ ...ready, ...changes });
    await store.grantByName('desk');
    await store.grantByName('desk');
    expect(at.reads).toBe(2);
  },
);
