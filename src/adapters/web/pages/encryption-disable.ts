/**
 * Disabling encryption on the page: the reason why it needs a file on the server, the request, and the checks of the
 * proof file.
 */
import type { EncryptionView, ProofRequest } from '../../../admin/service.ts';
import type { ProofFault } from '../../../encryption/ports.ts';
import { asRunHere } from '../../../text/program-name.ts';
import { shellArg } from '../../../text/shell.ts';
import { card, code, command, confirmation, countOf, postForm, timestampUtc } from './components.ts';
import type { Frame } from './layout.ts';
import { type Markup, markup, nothing } from './layout.ts';

const reasonForFile = markup`<p>Every password is then stored in plain text in the database again. A browser alone must not be able to do that: an attacker who takes over an admin's browser would get all of them. So it needs a file on this server, which proves access to its disk.</p>`;

export function disableCard(frame: Frame, { unfinished, status, diagnostics }: EncryptionView): Markup {
  // Without a key no password can be unsealed.
  const hasKey = status.vault.state === 'open' || status.vault.state === 'orphaned';
  if (unfinished !== null || status.state !== 'on' || !hasKey) return nothing;
  const question = markup`<p>Nothing changes yet. The next step names the file to create, within 15 minutes.</p>`;
  const form = postForm(
    frame,
    'server/encryption/request-disable',
    markup`<button type="submit" class="danger">Request to disable</button>`,
  );
  const broken =
    diagnostics.length === 0 ? nothing : markup`<p class="hint">Fix the problems above first, if you can.</p>`;
  return card(
    'plain',
    'Disable encryption',
    markup`${reasonForFile}<p>The key file is renamed, not deleted: backups of the database still need it.</p>${broken}${confirmation('Disable encryption…', question, form, true)}`,
  );
}

/** A pending request, which needs its proof file. */
export function proofCard(frame: Frame, { proofRequest: request, status }: EncryptionView): Markup {
  if (request === null) return nothing;
  const { by, requestedAtMs, expiresAtMs, path, checks } = request;
  // A wrong file has to be removed first.
  const isReplaced = checks !== null && isInTheWay(checks);
  const line = isReplaced ? `rm ${shellArg(path)} && touch ${shellArg(path)}` : request.command;
  const confirmForm = postForm(
    frame,
    'server/encryption/confirm-disable',
    markup`<button type="submit" class="danger">I have created the file</button>`,
  );
  const cancelForm = postForm(
    frame,
    'server/encryption/cancel-disable',
    markup`<button type="submit" class="plain">Cancel, keep encryption on</button>`,
  );
  return card(
    'warn',
    'Disable encryption',
    markup`<p>Requested by <bdi>${by}</bdi> at ${timestampUtc(requestedAtMs)}; it expires at ${timestampUtc(expiresAtMs)}. Nothing has changed yet.</p>${reasonForFile}<ol class="tasks"><li><h3>${isReplaced ? 'Create the file again' : 'Create the file'}</h3><p>On this server, as the user of the daemon or as root: ${code(path)}</p>${command(line)}</li>
<li><h3>Confirm</h3><p>${countOf(status.sealed, 'password')} will be stored in plain text. The file is removed afterwards.</p>${checks === null ? nothing : checkList(checks)}${confirmForm}</li></ol>
<div class="aside">${cancelForm}</div>`,
  );
}

type Checks = NonNullable<ProofRequest['checks']>;

/** Faults of the proof file, as ends of a sentence that begins with it. */
export function proofFaults(checks: Checks): readonly string[] {
  const failing = checks.filter(({ ok }) => !ok);
  return failing.flatMap(({ fault }) => (fault === null || fault === 'unchecked' ? [] : [faultTexts[fault]]));
}

const faultTexts = {
  missing: 'is missing',
  link: 'is a link, not a file',
  not_a_file: 'is no file',
  wrong_owner: 'is of the wrong user',
  writable_by_others: 'can be changed by others',
  too_old: 'is too old: it must be newer than the request',
} as const satisfies Readonly<Record<Exclude<ProofFault, 'unchecked'>, string>>;

function isInTheWay(checks: Checks): boolean {
  const absent = checks.find(({ name, ok }) => name === 'exists' && !ok);
  return absent === undefined ? checks.some(({ ok }) => !ok) : absent.fault === 'link';
}

const checkNames = {
  exists: ['The file exists', 'The file does not exist'],
  owner: ['It belongs to the right user', 'It does not belong to the right user'],
  newer: ['It is newer than the request', 'It is not newer than the request'],
} as const;

function checkList(checks: Checks): Markup {
  const isMissing = checks.some(({ name, ok }) => name === 'exists' && !ok);
  const rows = checks.map((check) => {
    const { name, ok } = check;
    const [good, missing] = checkNames[name];
    const bad = check.fault === 'link' ? 'It is a link, not a file' : missing;
    const reason = check.fault === 'link' ? 'Remove it, as above.' : check.why;
    // Without a file its owner and age are not checked.
    const isOpen = isMissing && name !== 'exists';
    const [mark, spoken, text] = isOpen
      ? ['open', 'Not checked: ', good]
      : ok
        ? ['ok', 'Yes: ', good]
        : ['failed', 'No: ', bad];
    const advice = reason === null || isOpen ? nothing : markup`<span class="hint">${asRunHere(reason)}</span>`;
    return markup`<li class="${mark}"><span class="unseen">${spoken}</span>${text}${advice}</li>`;
  });
  const lead = checks.every(({ ok }) => ok)
    ? nothing
    : markup`<p><strong>Not yet: the file was checked, with this result.</strong></p>`;
  return markup`${lead}<ul class="checks">${rows}</ul>`;
}
