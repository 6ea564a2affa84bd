/**
 * Server › Encryption as a daemon with two workers and 200 mailboxes would show it, one view for each mode and
 * diagnostic.
 *
 * The times are of one afternoon; nothing here is measured.
 */

import type { EncryptionView, OperationView } from '../../../../src/admin/service.ts';
import { describeStep } from '../../../../src/encryption/operations/steps.ts';
import { type DatabaseServer, plaintextRemnants, preparationAdvice } from '../../../../src/encryption/remnants.ts';
import { importKey } from '../../../../src/secret/key.ts';

export const nowMs = Date.UTC(2026, 2, 17, 14, 32, 8);
export const secondMs = 1000;
export const minuteMs = 60_000;
export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

const iso = (ms: number): string => new Date(ms).toISOString();

/** 32 bytes of a key that is good for nothing but these views. */
export function exampleKey(first: number): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, index) => (first + index * 37) % 256);
}

export const keyOne = importKey(exampleKey(1)).id;
export const keyTwo = importKey(exampleKey(2)).id;
const by = 'marta (admin page)';
export const keyFilePath = '/var/lib/ticketmaild/encryption-key.bin';

const readableSince = nowMs - 400 * dayMs;

function stoodReadable(count: number, untilMs: number | null): EncryptionView['status']['plaintext_periods'] {
  const until = untilMs === null ? null : iso(untilMs);
  return Array.from({ length: count }, (_, index) => ({
    mailbox: `support-${index + 1}`,
    since: iso(readableSince),
    until,
  }));
}

const offStatus: EncryptionView['status'] = {
  state: 'off',
  key_id: null,
  next_key_id: null,
  revision: 0,
  changed_at: null,
  changed_by: null,
  sealed: 0,
  sealed_tokens: 0,
  plaintext_tokens: 0,
  plaintext: 200,
  by_key: [],
  waiting: 0,
  problem: null,
  ...{ stored_state: null, stored_key_id: null, stored_revision: null },
  vault: { state: 'closed', key_ids: [], weak_key_ids: [], reason: null, hint: null },
  workers: [],
  plaintext_periods: [],
};

export const off: EncryptionView = {
  mode: 'off',
  status: offStatus,
  diagnostics: [],
  operation: null,
  progress: null,
  unfinished: null,
  proofRequest: null,
  keyFile: { path: keyFilePath, isProtected: false, keyIds: [] },
  backup: null,
  commands: {
    backup:
      'sudo -u ticketmaild ticketmaild key backup /media/safe/encryption-key.bin --config /etc/ticketmaild/config.toml',
    verify:
      'sudo -u ticketmaild ticketmaild key verify /media/safe/encryption-key.bin --config /etc/ticketmaild/config.toml',
    status: 'sudo -u ticketmaild ticketmaild encryption status --config /etc/ticketmaild/config.toml',
  },
  leftovers: [],
};

const mariadb: DatabaseServer = {
  ...{ product: 'mariadb', isUndoScrubbed: false, hasBinaryLog: true, redoLogBytes: 96 * 1024 ** 2 },
  ...{ dirtyPagesPct: '90.000000', dirtyPagesPctLwm: '0.000000' },
};

export const offMariadb: EncryptionView = { ...off, leftovers: preparationAdvice(mariadb) };

export function workerLine(
  host: string,
  pid: number,
  hasKey: boolean,
  live = true,
): EncryptionView['status']['workers'][number] {
  const key_ids = hasKey ? [keyOne] : [];
  const vault = hasKey ? 'open' : 'missing';
  const seen_at = iso(live ? nowMs - 2 * secondMs : nowMs - 3 * dayMs);
  return { worker: `${host}:${pid}`, host, pid, live, key_ids, has_key: hasKey, vault, revision: 3, seen_at };
}

export const onStatus: EncryptionView['status'] = {
  ...offStatus,
  state: 'on',
  key_id: keyOne,
  revision: 3,
  changed_at: iso(nowMs - 2 * minuteMs),
  changed_by: by,
  sealed: 200,
  plaintext: 0,
  by_key: [{ key_id: keyOne, count: 200 }],
  vault: { state: 'open', key_ids: [keyOne], weak_key_ids: [], reason: null, hint: null },
  workers: [
    workerLine('desk1.example.org', 811, true),
    workerLine('desk2.example.org', 1204, true),
    workerLine('desk2.example.org', 977, false, false),
  ],
  plaintext_periods: stoodReadable(24, nowMs - 2 * minuteMs),
};

const enabled: OperationView = {
  kind: 'enable',
  by,
  startedAtMs: nowMs - 3 * minuteMs,
  endedAtMs: nowMs - 2 * minuteMs,
  state: 'done',
  steps: [
    describeStep({ step: 'key_file_created', keyId: keyOne }),
    describeStep({ step: 'sealing_started', keyId: keyOne }),
    describeStep({ step: 'encryption_on' }),
    describeStep({ step: 'table_rewritten' }),
  ],
  error: null,
  unopened: [],
  setAside: null,
  followUp: null,
};

/** Just switched on: no copy of the key file was verified yet. */
export const on: EncryptionView = {
  ...off,
  mode: 'on',
  status: onStatus,
  operation: enabled,
  keyFile: { path: keyFilePath, isProtected: false, keyIds: [keyOne] },
  leftovers: plaintextRemnants({ kind: 'mysql' }, mariadb, null),
};

export const onVerified: EncryptionView = {
  ...on,
  status: { ...onStatus, plaintext_periods: stoodReadable(3, nowMs - 90 * dayMs) },
  backup: { atMs: nowMs - minuteMs, by, keyIds: [keyOne] },
};

export const onProtected: EncryptionView = {
  ...onVerified,
  backup: null,
  keyFile: { ...on.keyFile, isProtected: true },
};

export const working: EncryptionView = {
  ...off,
  mode: 'working',
  status: { ...onStatus, state: 'enabling', sealed: 120, plaintext: 80, by_key: [{ key_id: keyOne, count: 120 }] },
  operation: { ...enabled, state: 'running', endedAtMs: null, steps: enabled.steps.slice(0, 2) },
  progress: { done: 120, total: 200 },
  keyFile: on.keyFile,
};

export const starting: EncryptionView = {
  ...off,
  mode: 'working',
  status: { ...offStatus, workers: [{ ...workerLine('desk1.example.org', 811, true), vault: 'closed' }] },
  operation: { ...enabled, state: 'running', endedAtMs: null, steps: [] },
};

export const rotating: EncryptionView = {
  ...working,
  status: {
    ...onStatus,
    state: 'rotating',
    next_key_id: keyTwo,
    workers: [workerLine('desk1.example.org', 811, true), workerLine('desk2.example.org', 1204, false)],
    by_key: [
      { key_id: keyOne, count: 160 },
      { key_id: keyTwo, count: 40 },
    ],
  },
  operation: {
    ...enabled,
    kind: 'rotate',
    state: 'running',
    endedAtMs: null,
    steps: [describeStep({ step: 'resealing_started', keyId: keyTwo })],
  },
  progress: { done: 40, total: 200 },
  keyFile: { ...on.keyFile, keyIds: [keyOne, keyTwo] },
};

export const unfinished: EncryptionView = {
  ...on,
  status: { ...onStatus, state: 'rotating', next_key_id: keyTwo },
  unfinished: 'rotate',
  operation: {
    ...enabled,
    kind: 'rotate',
    state: 'failed',
    steps: [],
    error: {
      code: 'workers_lack_key',
      message: `live workers lack the key ${keyTwo}: desk2.example.org (pid 1204)`,
      hint: 'Copy the key file to those hosts, and continue.',
    },
  },
};

const proofPath = '/var/lib/ticketmaild/can-disable-encryption.txt';

const request: NonNullable<EncryptionView['proofRequest']> = {
  by,
  requestedAtMs: nowMs - minuteMs,
  expiresAtMs: nowMs + 14 * minuteMs,
  path: proofPath,
  command: `sudo -u ticketmaild touch ${proofPath}`,
  checks: null,
};

export const disabling: EncryptionView = { ...onVerified, mode: 'disabling', proofRequest: request };

export const disablingRefused: EncryptionView = {
  ...disabling,
  proofRequest: {
    ...request,
    checks: [
      { name: 'exists', ok: true, fault: null, why: null },
      {
        name: 'owner',
        ok: false,
        fault: 'wrong_owner',
        why: 'It belongs to uid 1000, not to ticketmaild or root. Remove it, and create it as that user.',
      },
      {
        name: 'newer',
        ok: false,
        fault: 'too_old',
        why: 'It was there before the request. Remove it, and create it again.',
      },
    ],
  },
};

export const disablingLink: EncryptionView = {
  ...disabling,
  proofRequest: {
    ...request,
    checks: [
      {
        name: 'exists',
        ok: false,
        fault: 'link',
        why: `${proofPath} is a symbolic link. Put the file itself there: rm it`,
      },
      { name: 'owner', ok: false, fault: 'unchecked', why: null },
      { name: 'newer', ok: false, fault: 'unchecked', why: null },
    ],
  },
};

export const switchedOff: EncryptionView = {
  ...off,
  operation: {
    ...enabled,
    kind: 'disable',
    steps: [describeStep({ step: 'plaintext_from_now_on' }), describeStep({ step: 'encryption_off' })],
    setAside: '/var/lib/ticketmaild/encryption-key.bin.disabled-20260317T143208Z-0a1b2c3d',
  },
};

export const leftUnopened: EncryptionView = {
  ...onVerified,
  operation: {
    ...enabled,
    kind: 'rotate',
    unopened: [{ mailbox: 'legal-vienna', code: 'password_damaged', message: 'the sealed password is damaged' }],
  },
};
