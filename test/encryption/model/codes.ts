/**
 * Codes of states: equal for states with equal futures. The code of an object, which nothing changes, is made once.
 */
import { hash } from 'node:crypto';
import type { SwitchMemory } from '../../../src/encryption/switch-memory.ts';
import type { SwitchRow } from '../../../src/secret/switch.ts';
import type { Host, State, Worker } from './machine.ts';

function rowCode(row: SwitchRow | null): string {
  return row === null ? '-' : `${row.revision}${row.seal?.slice(17, 25) ?? ''}`;
}

function memoryCode({ row, issued }: SwitchMemory): string {
  return rowCode(row) + issued.map(({ seal, by }) => ` ${seal.slice(17, 25)}${by ?? ''}`).join('');
}

/** Of key file, state file and database. */
export function hostCode({
  file,
  aside,
  memory,
  row,
  newest,
  passwords,
  isFirstForeign,
}: Omit<Host, 'isAlive' | 'handed'>): string {
  return [file, aside, memoryCode(memory), rowCode(row), rowCode(newest), passwords, isFirstForeign].join('|');
}

const codes = new WeakMap<object, string>();

function known<Of extends object>(one: Of, codeFor: (one: Of) => string): string {
  const code = codes.get(one) ?? codeFor(one);
  codes.set(one, code);
  return code;
}

function workerCode({ held, reading, prepared, isSetter }: Worker): string {
  const ofHeld = held === null ? null : [held.keys, rowCode(held.inForce), rowCode(held.stored)];
  const ofReading = reading === null ? null : [reading.file, memoryCode(reading.memory)];
  return JSON.stringify([ofHeld, ofReading, prepared, isSetter]);
}

/** What a worker does next depends on this. */
export function situationCode(host: Host, worker: Worker): string {
  return [hostCode(host), known(host.handed, handedCode), host.isAlive, known(worker, workerCode)].join('/');
}

const handedCode = (rows: readonly SwitchRow[]) => rows.map(rowCode).join();

export function codeOf(state: State): string {
  const { command, workers, handed, canCrash, canRollBack } = state;
  const processes = [...workers.map((worker) => known(worker, workerCode)), command && known(command, JSON.stringify)];
  const whole = [hostCode(state), ...processes, known(handed, handedCode), canCrash, canRollBack];
  return hash('sha1', whole.join('/'), 'base64');
}
