/** The night in which nothing happens. */
import type { Night } from '../night.ts';

export const idleNights: readonly Night[] = [
  {
    ...{ group: 'idle', name: 'nothing happens for two minutes', faultS: 120, shows: null, canaries: [], linesMax: 0 },
    make: async () => async () => undefined,
  },
];
