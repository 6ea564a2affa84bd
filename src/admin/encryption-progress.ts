/** What is under way with the switch, out of its state, the counted passwords and the operation of the page. Pure. */
import type { EncryptionStatus } from '../encryption/status.ts';
import type { EncryptionView, OperationKind, OperationView } from './desk.ts';
import { halfWay } from './operation-work.ts';

export type UnderWay = Pick<EncryptionView, 'face' | 'progress' | 'unfinished'>;

/** `isAsked`: switching off was asked for, and waits for its proof file. */
export function underWay(status: EncryptionStatus, operation: OperationView | null, isAsked: boolean): UnderWay {
  const running = operation?.state === 'running' ? operation : null;
  const begun = halfWay({ state: status.state, nextKeyId: status.next_key_id });
  const kind = begun ?? running?.kind ?? null;
  return {
    face: kind === null ? faceAtRest(status, isAsked) : 'working',
    progress: kind === null ? null : progressOf(kind, status, running),
    unfinished: running === null ? begun : null,
  };
}

function faceAtRest({ state }: EncryptionStatus, isAsked: boolean): EncryptionView['face'] {
  if (state === 'off') return 'off';
  return isAsked ? 'disabling' : 'on';
}

function progressOf(kind: OperationKind, status: EncryptionStatus, running: OperationView | null) {
  const { sealed, plain } = status;
  const total = sealed + plain;
  if (kind === 'rotate') return { done: rotated(status, running), total };
  return { done: kind === 'enable' ? sealed : plain, total };
}

/** Under the key that they are to be under in the end, which is not known before it is announced. */
function rotated(status: EncryptionStatus, running: OperationView | null): number {
  const { next_key_id: nextKeyId, key_id: keyId, changed_at: changedAt, by_key: byKey } = status;
  const isBegun = nextKeyId !== null || running === null || Date.parse(changedAt ?? '') >= running.startedAtMs;
  if (!isBegun) return 0;
  return byKey.find(({ key_id: id }) => id === (nextKeyId ?? keyId))?.count ?? 0;
}
