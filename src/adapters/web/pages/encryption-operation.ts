/**
 * Operations on the encryption switch: the running one, an unfinished one, and the result of the last one.
 *
 * Progress comes from the database, so it is the same after a reload, after a restart, and on every worker.
 */

import type { EncryptionView, OperationKind, OperationView } from '../../../admin/service.ts';
import { capitalized } from '../../../text/printable.ts';
import { asRunHere } from '../../../text/program-name.ts';
import {
  card,
  code,
  collapsible,
  command,
  countOf,
  formatNumber,
  hintParagraph,
  inlineCommand,
  postForm,
  timestampUtc,
  untrustedText,
} from './components.ts';
import type { Frame } from './layout.ts';
import { type Markup, markup, nothing } from './layout.ts';

type Words = {
  readonly running: string;
  readonly done: string;
  readonly failed: string;
  /** What happens to each password. */
  readonly change: string;
  readonly unfinished: string;
};

const words: Readonly<Record<OperationKind, Words>> = {
  enable: {
    running: 'Encryption is being enabled',
    done: 'Encryption was enabled',
    failed: 'Enabling encryption failed',
    change: 'sealed',
    unfinished: 'Enabling encryption was interrupted',
  },
  rotate: {
    running: 'The key is being rotated',
    done: 'The key was rotated',
    failed: 'The key rotation failed',
    change: 'sealed under the new key',
    unfinished: 'The key rotation was interrupted',
  },
  disable: {
    running: 'Encryption is being disabled',
    done: 'Encryption was disabled',
    failed: 'Disabling encryption failed',
    change: 'stored in plain text',
    unfinished: 'Disabling encryption was interrupted',
  },
};

/** The running or unfinished operation, as the switch shows it where no row says so. */
export function kindOf({ operation, status, unfinished }: EncryptionView): OperationKind {
  if (operation?.state === 'running') return operation.kind;
  if (unfinished !== null) return unfinished;
  if (status.state === 'rotating' || status.next_key_id !== null) return 'rotate';
  return status.state === 'disabling' ? 'disable' : 'enable';
}

/** In steps of ten per cent: a screen reader reads each change aloud. */
export function progressText(view: EncryptionView): string {
  const { running } = words[kindOf(view)];
  const { progress } = view;
  if (progress === null || progress.total === 0) return `${running}.`;
  return `${running}: ${Math.floor((progress.done / progress.total) * 10) * 10} per cent done.`;
}

export function runningCard(view: EncryptionView): Markup {
  const { progress, status } = view;
  const hasTokens = status.sealed_tokens + status.plaintext_tokens > 0;
  const operation = view.operation?.state === 'running' ? view.operation : null;
  const { running, change } = words[kindOf(view)];
  const by =
    operation === null
      ? nothing
      : markup`<p class="soft">Started ${timestampUtc(operation.startedAtMs)} by <bdi>${operation.by}</bdi></p>`;
  const now =
    progress === null
      ? 'Preparing, or waiting until every worker has the key'
      : `${formatNumber(progress.done)} of ${countOf(progress.total, hasTokens ? 'password or token' : 'password', hasTokens ? 'passwords and tokens' : undefined)} ${change}`;
  return card(
    'accent',
    running,
    markup`${bar(progress, running)}<ol class="steps">${doneSteps(operation?.steps ?? [])}<li class="now">${now}</li></ol>${by}${view.unfinished === null ? background : nothing}`,
  );
}

const background = markup`<p class="hint">It runs in the background: this page can be left or reloaded, and a restarted daemon resumes it. Mail keeps flowing.</p>`;

function doneSteps(steps: OperationView['steps']): readonly Markup[] {
  return steps.map((step) => markup`<li class="done">${asRunHere(step)}</li>`);
}

function bar(progress: EncryptionView['progress'], name: string): Markup {
  if (progress === null || progress.total === 0) return markup`<progress aria-label="${name}"></progress>`;
  const { done, total } = progress;
  const share = Math.floor((done / total) * 100);
  return markup`<div class="progress"><progress aria-label="${name}" value="${done}" max="${total}">${share} %</progress><b>${share} %</b></div>`;
}

/** After a failed attempt: its error and the unopened passwords, which Continue alone does not change. */
export function unfinishedCard(frame: Frame, { unfinished: kind, operation }: EncryptionView): Markup {
  if (kind === null) return nothing;
  const button = markup`<button type="submit" class="primary">Continue</button>`;
  const form = postForm(frame, 'server/encryption/continue', button, { kind });
  if (operation?.state === 'failed' && operation.kind === kind)
    return card('bad', words[kind].failed, markup`${failure(operation.error)}${details(operation)}${form}`);
  const text = 'It is not finished, and no worker runs it now. Every mailbox keeps working. Continue resumes it.';
  return card('warn', words[kind].unfinished, markup`<p>${text}</p>${form}`);
}

/** `first`: it failed or left passwords behind, so it is shown before the rest of the page. */
export function lastOperation({ operation, mode }: EncryptionView, at: 'first' | 'last'): Markup {
  if (operation === null || operation.state === 'running') return nothing;
  const { kind, error, state, unopened } = operation;
  const needsAction = state === 'failed' || unopened.length > 0;
  if (needsAction !== (at === 'first') || mode === 'working') return nothing;
  const { failed, done } = words[kind];
  if (state === 'failed') return card('bad', failed, markup`${failure(error)}${details(operation)}`);
  if (needsAction) return card('warn', done, details(operation, done));
  return card('plain', 'Last operation', details(operation, done));
}

function failure(error: OperationView['error']): Markup {
  if (error === null) return markup`<p>The reason is in the log of the daemon.</p>`;
  const { message, code, hint } = error;
  return markup`<p>${capitalized(message)} <small>(${code})</small></p>${hintParagraph(hint)}`;
}

function details(operation: OperationView, done: string | null = null): Markup {
  const { by, startedAtMs, endedAtMs, steps, unopened, setAside, followUp } = operation;
  const at =
    endedAtMs === null ? markup`started ${timestampUtc(startedAtMs)}` : markup`ended ${timestampUtc(endedAtMs)}`;
  const when = markup`<p class="soft">${done === null ? 'It ' : `${done}: `}${at}, started by <bdi>${by}</bdi>.</p>`;
  const renamed =
    setAside === null
      ? nothing
      : markup`<p>The key file was renamed, not deleted: ${code(setAside)}. Keep it as long as backups of the database from that time.</p>`;
  const next = followUp === null ? nothing : markup`<p>${followUp.what}</p>${command(followUp.command)}`;
  const list = markup`<ol class="steps">${doneSteps(steps)}</ol>`;
  const folded = steps.length === 0 ? nothing : collapsible('last-steps', countOf(steps.length, 'step'), list);
  return markup`${when}${renamed}${next}${unopenedList(unopened)}${folded}`;
}

function unopenedList(unopened: OperationView['unopened']): Markup {
  if (unopened.length === 0) return nothing;
  const rows = unopened.map(
    ({ mailbox, grant, code: why, message }) =>
      markup`<li>${grant === undefined ? '' : 'Grant '}“${untrustedText(mailbox ?? grant ?? '')}”: ${message} <small>(${why})</small></li>`,
  );
  const list = markup`<ul class="plain-list">${rows}</ul>`;
  const tokens = unopened.filter(({ grant }) => grant !== undefined).length;
  const passwords = unopened.length - tokens;
  const ofPasswords = markup`<p><strong>${countOf(passwords, 'password')} could not be opened.</strong> Set each again, on the host: ${inlineCommand('ticketmaild mailbox set-password NAME')}</p>`;
  const ofTokens = markup`<p><strong>${countOf(tokens, 'refresh token')} could not be opened.</strong> Sign in again, on the host: ${inlineCommand('ticketmaild mailbox authorize NAME')}</p>`;
  return markup`${passwords > 0 ? ofPasswords : nothing}${tokens > 0 ? ofTokens : nothing}${unopened.length > 5 ? collapsible('unopened', 'Which ones', list) : list}`;
}
