/** The table of changes of rows, as kinds of the fault campaign. */
import type { Kind } from '../kinds.ts';
import type { Ground, RowChange } from './change.ts';
import { rowChanges, settingChanges } from './mailboxes.ts';
import { outcomeChanges } from './outcomes.ts';
import { passwordChanges } from './passwords.ts';
import { switchChanges } from './switch.ts';
import { scheduleChanges, workerChanges } from './workers.ts';

export const changes: readonly RowChange[] = [
  ...settingChanges,
  ...rowChanges,
  ...passwordChanges,
  ...switchChanges,
  ...outcomeChanges,
  ...workerChanges,
  ...scheduleChanges,
];

export function rowKinds(ground: Ground): readonly Kind[] {
  return changes.map(({ name, layer, visibleBy, make, seconds: [secondsMin, secondsMax] }) => ({
    ...{ name, layer, visibleBy, secondsMin, secondsMax },
    ...{ scope: 'all', shownBy: 'any', needs: 'nothing' },
    begin: (_scene, _targets, random) => make(ground, random),
    // What was drawn says how it shows.
    visible: () => null,
  }));
}
