/** All nights, in the order of the table. */
import type { Night } from '../night.ts';
import { databaseNights } from './database.ts';
import { idleNights } from './idle.ts';
import { keyNights } from './keys.ts';
import { machineNights } from './machine.ts';
import { serverNights } from './servers.ts';

export const nights: readonly Night[] = [
  ...serverNights,
  ...databaseNights,
  ...machineNights,
  ...keyNights,
  ...idleNights,
];
