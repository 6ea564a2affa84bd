/** Nights of the machine and of the process: disk, clock, memory, crashes, a broken configuration, an upgrade. */

import type { Night } from '../night.ts';

const machine = (night: Omit<Night, 'group'>): Night => ({ group: 'machine', ...night });

export const machineNights: readonly Night[] = [
  machine({
    name: 'killed once',
    faultS: 10,
    shows: /silent|^unit/,
    make: async ({ stand }) => {
      await stand.machine.get('systemctl kill --signal=KILL --kill-who=main ticketmaild');
      return async () => undefined;
    },
  }),
];
