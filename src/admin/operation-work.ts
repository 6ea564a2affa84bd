/**
 * What an operation of the admin page runs: the workflow of the command of that name.
 *
 * One that is gone on with does nothing but end what the sealed switch says is half way: that is checked under the claim
 * on the switch, at every look that the workflow takes. A row of the database starts nothing by itself.
 */
import { withKeysInMemory } from '../encryption/control.ts';
import { disable } from '../encryption/operations/disable.ts';
import { enable } from '../encryption/operations/enable.ts';
import {
  type OperationOptions,
  type OperationPorts,
  refusedWhile,
  type Unopened,
} from '../encryption/operations/operation.ts';
import { rotate } from '../encryption/operations/rotate.ts';
import type { Vault } from '../encryption/vault.ts';
import { Failure } from '../errors.ts';
import type { SwitchRow } from '../secret/switch.ts';
import type { OperationKind } from './desk.ts';

export type Outcome = {
  /** What was done, one sentence. */
  readonly step: string;
  readonly unopened: readonly Unopened[];
  readonly setAside: string | null;
  /** Why it is not over although the workflow ended. */
  readonly failure: Failure | null;
};

type InForce = Pick<SwitchRow, 'state' | 'nextKeyId'>;

/** What the switch says that was begun and is not over; null: nothing. */
export function halfWay({ state, nextKeyId }: InForce): OperationKind | null {
  if (state === 'enabling') return 'enable';
  if (state === 'disabling') return 'disable';
  return state === 'rotating' || (state === 'on' && nextKeyId !== null) ? 'rotate' : null;
}

/** The switch is where such an operation leads to. */
function isAtEnd(kind: OperationKind, { state, nextKeyId }: InForce): boolean {
  return kind === 'disable' ? state === 'off' : state === 'on' && nextKeyId === null;
}

/** The switch was brought to where such an operation leads to, since then. */
export function isReached(kind: OperationKind, row: SwitchRow, sinceMs: number): boolean {
  return isAtEnd(kind, row) && row.changedAtMs >= sinceMs;
}

/** Why an operation cannot begin while the switch is as it is; null: it can. `isProven`: with a proof file. */
export function whyNot(kind: OperationKind, row: InForce, isProven: boolean): Failure | null {
  const { state } = row;
  if (kind === 'enable') {
    return state === 'rotating' || state === 'disabling' ? refusedWhile(state, 'switching on') : null;
  }
  if (kind === 'rotate') return state === 'on' || state === 'rotating' ? null : refusedWhile(state, 'a rotation');
  if (state === 'rotating') return refusedWhile(state, 'switching off');
  if (isProven || state === 'disabling') return null;
  return new Failure('refused', 'switching off has to be asked for first', { hint: 'It needs a proof file.' });
}

/** Runs it. `isBound`: only while the sealed switch says so. Throws what the workflow throws, and `interrupted`. */
export async function runWork(
  kind: OperationKind,
  isBound: boolean,
  given: OperationPorts,
  options: OperationOptions,
): Promise<Outcome> {
  const ports = isBound ? { ...given, vault: boundTo(kind, given.vault) } : given;
  if (kind === 'enable') return enabledOutcome(await enable(ports, options));
  if (kind === 'rotate') return rotatedOutcome(await rotate(ports, options));
  return disabledOutcome(await disable({ ...ports, vault: withKeysInMemory(ports.vault) }, options));
}

/** The same vault, that fails when the switch says of something else that it is half way, or of nothing before this did. */
function boundTo(kind: OperationKind, vault: Vault): Vault {
  let wasBegun = false;
  const check = (row: InForce): void => {
    const isHalfWay = halfWay(row) === kind;
    // A rotation that is announced alone has changed nothing that would have to be ended.
    wasBegun ||= isHalfWay && row.state !== 'on';
    if (!isHalfWay && !(wasBegun && isAtEnd(kind, row))) throw cutOff(row.state);
  };
  return {
    get view() {
      return vault.view;
    },
    refresh: async () => {
      const view = await vault.refresh();
      check(view.switch);
      return view;
    },
    keys: () => vault.keys(),
    wrapped: () => vault.wrapped(),
  };
}

/** Of an operation that nobody runs any more, and that the switch knows nothing of. */
export function cutOff(state: SwitchRow['state']): Failure {
  const message = `the daemon that ran it ended, and the switch is ${state}: it is not gone on with by itself`;
  return new Failure('interrupted', message, { hint: 'If it is still wanted, press the button again.' });
}

type Result<T extends (...given: never[]) => unknown> = Awaited<ReturnType<T>>;

const whole = { unopened: [], setAside: null, failure: null };

function enabledOutcome({ sealed }: Result<typeof enable>): Outcome {
  return { ...whole, step: `Sealed: ${sealed}.` };
}

function rotatedOutcome({ resealed, unopened, formerKeyId, formerKept }: Result<typeof rotate>): Outcome {
  const former = `The former key ${formerKeyId} is ${formerKept ? 'still' : 'no longer'} in the key file.`;
  return { ...whole, step: `Resealed: ${resealed}. ${former}`, unopened };
}

function disabledOutcome({ unsealed, unopened, setAside, wasOff }: Result<typeof disable>): Outcome {
  const step = wasOff ? 'Encryption was off already.' : `Made readable: ${unsealed}.`;
  return { step, unopened, setAside, failure: unopened.length === 0 ? null : stillSealed(unopened.length) };
}

function stillSealed(count: number): Failure {
  const message = `the switch stays at disabling: ${count} of the passwords cannot be opened`;
  const hint = 'Set each of these anew: ticketmaild mailbox set-password NAME. Then go on.';
  return new Failure('password_damaged', message, { hint, fields: { count } });
}
