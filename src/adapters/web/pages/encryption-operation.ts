/**
 * An operation on the switch: the one that is under way, the one that was cut off, and what became of the last one.
 *
 * Progress is what the database says, so that it is the same after a reload, after a restart, and on every worker.
 */
import type { EncryptionView, OperationKind, OperationView } from '../../../admin/service.ts';
import { card, code, command, counted, fold, foreign, number, postForm, timeUtc } from './components.ts';
import type { Frame } from './layout.ts';
import { type Markup, markup, nothing } from './layout.ts';

type Words = {
  readonly doing: string;
  readonly done: string;
  readonly failed: string;
  /** Of passwords. */
  readonly changed: string;
  readonly cutOff: string;
};

const words: Readonly<Record<OperationKind, Words>> = {
  enable: {
    doing: 'Encryption is being switched on',
    done: 'Encryption was switched on',
    failed: 'Switching encryption on failed',
    changed: 'sealed',
    cutOff: 'Switching encryption on was cut off half way',
  },
  rotate: {
    doing: 'The key is being rotated',
    done: 'The key was rotated',
    failed: 'The rotation of the key failed',
    changed: 'sealed under the new key',
    cutOff: 'The rotation of the key was cut off half way',
  },
  disable: {
    doing: 'Encryption is being switched off',
    done: 'Encryption was switched off',
    failed: 'Switching encryption off failed',
    changed: 'made readable again',
    cutOff: 'Switching encryption off was cut off half way',
  },
};

/** What is under way, as the switch says where nobody started it here. */
export function kindOf({ operation, status, unfinished: left }: EncryptionView): OperationKind {
  if (operation?.state === 'running') return operation.kind;
  if (left !== null) return left;
  if (status.state === 'rotating' || status.next_key_id !== null) return 'rotate';
  return status.state === 'disabling' ? 'disable' : 'enable';
}

/** In steps of ten per cent, as it is read out whenever it is another. */
export function progressText(view: EncryptionView): string {
  const { doing } = words[kindOf(view)];
  const { progress } = view;
  if (progress === null || progress.total === 0) return `${doing}.`;
  return `${doing}: ${Math.floor((progress.done / progress.total) * 10) * 10} per cent done.`;
}

export function working(view: EncryptionView): Markup {
  const { operation, progress } = view;
  const { doing, changed } = words[kindOf(view)];
  const isOurs = operation?.state === 'running';
  const by = isOurs
    ? markup`<p class="soft">Started ${timeUtc(operation.startedAtMs)} by <bdi>${operation.by}</bdi></p>`
    : nothing;
  const steps = isOurs ? operation.steps : [];
  const now =
    progress === null
      ? 'Getting ready, or waiting until every worker has the key'
      : `${number(progress.done)} of ${counted(progress.total, 'password')} ${changed}`;
  return card(
    'accent',
    doing,
    markup`${bar(progress, doing)}<ol class="steps">${steps.map((step) => markup`<li class="done">${step}</li>`)}<li class="now">${now}</li></ol>${by}<p class="hint">It runs on by itself: this page can be left or loaded again, and when the daemon restarts it goes on where it was. Mail keeps flowing.</p>`,
  );
}

function bar(progress: EncryptionView['progress'], name: string): Markup {
  if (progress === null || progress.total === 0) return markup`<progress aria-label="${name}"></progress>`;
  const { done, total } = progress;
  const share = Math.floor((done / total) * 100);
  return markup`<div class="progress"><progress aria-label="${name}" value="${done}" max="${total}">${share} %</progress><b>${share} %</b></div>`;
}

/** Nobody works on it: what that means, and the button that goes on. */
export function unfinished(frame: Frame, { unfinished: kind }: EncryptionView): Markup {
  if (kind === null) return nothing;
  const form = postForm(
    frame,
    'server/encryption/continue',
    markup`<button type="submit" class="primary">Continue</button>`,
    { kind },
  );
  return card(
    'warn',
    words[kind].cutOff,
    markup`<p>It is not finished, and nobody works on it now. Every mailbox keeps working meanwhile. Continue goes on where it ended.</p>${form}`,
  );
}

/** `first`: it failed, or left passwords behind, so it comes before the rest of the page. */
export function lastOperation({ operation, mode: face }: EncryptionView, at: 'first' | 'last'): Markup {
  if (operation === null || operation.state === 'running') return nothing;
  const needsLook = operation.state === 'failed' || operation.unopened.length > 0;
  if (needsLook !== (at === 'first') || face === 'working') return nothing;
  const { kind, error } = operation;
  if (operation.state === 'failed')
    return card('bad', words[kind].failed, markup`${failure(error)}${details(operation)}`);
  return card(
    needsLook ? 'warn' : 'plain',
    needsLook ? words[kind].done : 'The last operation',
    details(operation, words[kind].done),
  );
}

function failure(error: OperationView['error']): Markup {
  if (error === null) return markup`<p>It ended without saying why: see the log of the daemon.</p>`;
  return markup`<p>${capital(error.message)} <small>(${error.code})</small></p><p class="hint">${error.hint}</p>`;
}

function details(operation: OperationView, done: string | null = null): Markup {
  const { by, startedAtMs, endedAtMs, steps, unopened, setAside, followUp: more } = operation;
  const when = markup`${endedAtMs === null ? markup`started ${timeUtc(startedAtMs)}` : markup`ended ${timeUtc(endedAtMs)}`}, started by <bdi>${by}</bdi>`;
  const kept =
    setAside === null
      ? nothing
      : markup`<p>The key file was set aside, not deleted: ${code(setAside)}. Keep it as long as backups of the database from that time.</p>`;
  const rest = more === null ? nothing : markup`<p>${more.what}</p>${command(more.command)}`;
  const told = markup`<ol class="steps">${steps.map((step) => markup`<li class="done">${step}</li>`)}</ol>`;
  return markup`<p class="soft">${done === null ? 'It ' : `${done}: `}${when}.</p>${kept}${rest}${left(unopened)}${steps.length === 0 ? nothing : fold('last-steps', counted(steps.length, 'step'), told)}`;
}

function left(unopened: OperationView['unopened']): Markup {
  if (unopened.length === 0) return nothing;
  const rows = unopened.map(
    ({ mailbox, code: why, message }) => markup`<li>“${foreign(mailbox)}”: ${message} <small>(${why})</small></li>`,
  );
  const list = markup`<ul class="plain-list">${rows}</ul>`;
  return markup`<p><strong>${counted(unopened.length, 'password')} could not be opened.</strong> Set each anew, on the host: <code>ticketmaild mailbox set-password NAME</code></p>${unopened.length > 5 ? fold('unopened', 'Which ones', list) : list}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
