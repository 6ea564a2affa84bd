/**
 * Ports of one simulated process over shared parts: key file, state file and database, real or in memory.
 *
 * Every effect passes through one function, where a test can let the process die before or after it, as with kill -9:
 * from then on the process has no effect. Another process over the same parts resumes.
 */
import { randomFillSync } from 'node:crypto';
import type { Clock } from '../../../src/async/clock.ts';
import type { OperationPorts } from '../../../src/encryption/operations/operation.ts';
import { describeStep } from '../../../src/encryption/operations/steps.ts';
import type { EncryptionStore, KeyFile, SwitchStateFile } from '../../../src/encryption/ports.ts';
import { createVault } from '../../../src/encryption/vault.ts';

/** Survives every process. */
export type Parts = {
  readonly keyFile: KeyFile;
  readonly memory: SwitchStateFile;
  readonly store: EncryptionStore;
  readonly clock: Clock;
};

export type Process = OperationPorts & {
  readonly told: {
    readonly steps: string[];
    /** The hosts that were waited for, each time. */
    readonly waiting: (readonly string[])[];
    readonly passwords: (readonly [number, number])[];
  };
};

/** Called before and after each effect; throws `Death` to let the process die there. */
export type Fate = (effect: string, when: 'before' | 'after') => void;

export class Death extends Error {}

const effects = {
  keyFile: ['create', 'replace', 'setAside'],
  memory: ['issue', 'withdraw', 'remember', 'overwrite'],
  store: [
    'writeSwitch',
    'claimOperation',
    'renewOperation',
    'endOperation',
    'rewritePasswords',
    'rewriteSettingsSeals',
    'rewriteTokens',
    'dropAccessTokens',
    'replaceSwitchKey',
    'writeReplyKeys',
    'rebuildMailboxTable',
    'audit',
    'beginOperation',
    'updateOperation',
  ],
} as const;

/** Workers of other hosts are not known to be dead. */
const placeOfProcesses = 'desk/1/1/';

let processes = 0;

/** A new process, to which every other one of this host is dead, but for those of `alive`. */
export function processOver(parts: Parts, fate: Fate = () => undefined, alive: readonly string[] = []): Process {
  processes += 1;
  const me = `${placeOfProcesses}${processes}/0`;
  const life = { isOver: false };
  const keyFile = mortal('keyFile', parts.keyFile, fate, life);
  const memory = mortal('memory', parts.memory, fate, life);
  const store = mortal('store', parts.store, fate, life);
  const told: Process['told'] = { steps: [], waiting: [], passwords: [] };
  const worker: Process['worker'] = {
    name: me,
    isDead: (owner) => owner.startsWith(placeOfProcesses) && owner !== me && !alive.includes(owner),
    isOfEarlierBoot: () => false,
  };
  return {
    keyFile,
    stateFile: memory,
    store,
    vault: createVault({ keyFile, stateFile: memory, store, clock: parts.clock, worker, log: silent }),
    clock: parts.clock,
    worker,
    actor: { who: 'ada@desk', host: 'desk' },
    origin: 'command',
    random: (bytes) => randomFillSync(bytes),
    bindingOf: (provider) => (provider === 'unknown' ? null : [provider]),
    observer: {
      step: (step) => void told.steps.push(describeStep(step)),
      passwords: (done, total) => void told.passwords.push([done, total]),
      workersWithoutKey: (lacking) => void told.waiting.push(lacking.map(({ host }) => host)),
    },
    told,
  };
}

function ignore(): void {
  // What the vault logs is tested with the vault.
}

const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function mortal<Part extends object>(
  name: keyof typeof effects,
  part: Part,
  fate: Fate,
  life: { isOver: boolean },
): Part {
  const names: readonly string[] = effects[name];
  return new Proxy(part, {
    get: (target, method) => {
      const value: unknown = Reflect.get(target, method);
      if (typeof value !== 'function' || !names.includes(String(method))) return value;
      return async (...given: unknown[]) => {
        const meet = (when: 'before' | 'after') => meetFate(`${name}.${String(method)}`, when, fate, life);
        meet('before');
        const result: unknown = await value.apply(target, given);
        meet('after');
        return result;
      };
    },
  });
}

function meetFate(effect: string, when: 'before' | 'after', fate: Fate, life: { isOver: boolean }): void {
  if (life.isOver) throw new Death('nothing of a dead process has an effect');
  try {
    fate(effect, when);
  } catch (error) {
    life.isOver = true;
    throw error;
  }
}
