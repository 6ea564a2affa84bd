import { expect, test } from 'vitest';
import { startRefusal, unfinishedKind } from '../../../src/admin/operations/switch-rules.ts';

const states = ['off', 'enabling', 'on', 'announced', 'rotating', 'disabling'] as const;
type Named = (typeof states)[number];
const inForce = (state: Named) =>
  state === 'announced' ? ({ state: 'on', nextKeyId: 'k2' } as const) : ({ state, nextKeyId: null } as const);

test('the switch alone shows which operation is unfinished', () => {
  expect(states.map((state) => unfinishedKind(inForce(state)))).toEqual([
    null,
    'enable',
    null,
    'rotate',
    'rotate',
    'disable',
  ]);
});

test('an operation can start depending on the switch, and disabling on a proof', () => {
  const can = (kind: 'enable' | 'rotate' | 'disable', isProven: boolean) =>
    states.filter((state) => startRefusal(kind, inForce(state), isProven) === null);
  expect(can('enable', false)).toEqual(['off', 'enabling', 'on', 'announced']);
  expect(can('rotate', false)).toEqual(['on', 'announced', 'rotating']);
  expect(can('disable', false)).toEqual(['disabling']);
  expect(can('disable', true)).toEqual(['off', 'enabling', 'on', 'announced', 'disabling']);
});
