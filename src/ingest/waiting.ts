/**
 * The mailboxes that were due at the last wake and wait for a place: whenever a visit ends, the next one begins at once.
 *
 * The list is a second old at most, and goes by the database again with every wake; one that another worker has visited
 * meanwhile is left to the next wake (the lease is taken only as it was seen).
 */
import { admitted, type Limits } from './due.ts';
import type { LoopPorts } from './loop.ts';
import type { DueMailbox } from './ports.ts';
import type { Visits } from './visits.ts';

export interface Waiting {
  /** What is due now, in place of what was. `isAll` is false when there are more. */
  put(due: readonly DueMailbox[], isAll: boolean): void;
  /** Begins as many visits as there is room for. */
  begin(): void;
  /** True when there is room left and more may be due than the list had. */
  isDry(): boolean;
  count(): { readonly due: number; readonly dueMs: number };
}

export function createWaiting(
  ports: Pick<LoopPorts, 'fleet' | 'hosts' | 'disk'>,
  limits: () => Limits,
  visits: Pick<Visits, 'underWay' | 'start'>,
): Waiting {
  const { fleet, hosts, disk } = ports;
  let list: readonly DueMailbox[] = [];
  let isWhole = true;
  return {
    put: (due, isAll) => {
      list = due.filter(({ id }) => !visits.underWay.has(id));
      isWhole = isAll;
    },
    begin: () => {
      if (disk.isFailing || list.length === 0) return;
      const ours = { isHome: fleet.isHome, admitsServer: hosts.admits, held: hosts.list() };
      const chosen = new Set(admitted(list, visits.underWay, limits(), ours));
      if (chosen.size === 0) return;
      list = list.filter((mailbox) => !chosen.has(mailbox));
      for (const mailbox of chosen) visits.start(mailbox);
    },
    isDry: () => !isWhole && list.length === 0,
    count: () => ({
      due: list.length,
      dueMs: list.reduce((max, { due: { overdueMs } }) => Math.max(max, overdueMs), 0),
    }),
  };
}
