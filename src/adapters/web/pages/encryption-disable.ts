/**
 * Switching encryption off: why it needs the file system of the server, the request, and the proof file with its checks.
 */
import type { EncryptionView, ProofRequest } from '../../../admin/service.ts';
import { shellArg } from '../../../text/shell.ts';
import { card, code, command, confirm, counted, postForm, timeUtc } from './components.ts';
import type { Frame } from './layout.ts';
import { type Markup, markup, nothing } from './layout.ts';

const why = markup`<p>Every password then stands readable in the database again. A browser alone must not be able to do that: whoever takes over an admin's browser would have all of them. So it needs a file on this server, which shows that you reach its disk.</p>`;

export function askToSwitchOff(frame: Frame, { unfinished, status, diagnostics: troubles }: EncryptionView): Markup {
  // Without a key no password can be made readable.
  const hasKey = status.vault.state === 'open' || status.vault.state === 'orphaned';
  if (unfinished !== null || status.state !== 'on' || !hasKey) return nothing;
  const asked = markup`<p>Nothing changes yet. The next step names the file to create, within 15 minutes.</p>${postForm(
    frame,
    'server/encryption/ask-disable',
    markup`<button type="submit" class="danger">Ask to Switch Off</button>`,
  )}`;
  const broken =
    troubles.length === 0 ? nothing : markup`<p class="hint">Put right what is wrong above first, if you can.</p>`;
  return card(
    'plain',
    'Switch encryption off',
    markup`${why}<p>The key file is renamed, not deleted: backups of the database still need it.</p>${broken}${confirm('Switch encryption off…', asked, true)}`,
  );
}

/** The request waits for its file. */
export function proof(frame: Frame, { proofRequest: request, status }: EncryptionView): Markup {
  if (request === null) return nothing;
  const { by, requestedAtMs: askedAtMs, expiresAtMs, path, checks } = request;
  // What is there is not right: it has to go first.
  const isAnew = checks !== null && isInTheWay(checks);
  const line = isAnew ? `rm ${shellArg(path)} && touch ${shellArg(path)}` : request.command;
  const confirmForm = postForm(
    frame,
    'server/encryption/confirm-disable',
    markup`<button type="submit" class="danger">I Have Created the File</button>`,
  );
  const cancelForm = postForm(
    frame,
    'server/encryption/cancel-disable',
    markup`<button type="submit" class="plain">Cancel, Keep Encryption On</button>`,
  );
  return card(
    'warn',
    'Switch encryption off',
    markup`<p>Asked for by <bdi>${by}</bdi> at ${timeUtc(askedAtMs)}; the request ends at ${timeUtc(expiresAtMs)}. Nothing has changed yet.</p>${why}<ol class="tasks"><li><h3>${isAnew ? 'Create the file anew' : 'Create the file'}</h3><p>On this server, as the user of the daemon or as root: ${code(path)}</p>${command(line)}</li>
<li><h3>Confirm</h3><p>${counted(status.sealed, 'password')} will be made readable. The file is removed afterwards.</p>${checks === null ? nothing : checked(checks)}${confirmForm}</li></ol>
<div class="aside">${cancelForm}</div>`,
  );
}

type Checks = NonNullable<ProofRequest['checks']>;

/** What is wrong with the proof file, as the ends of a sentence that begins with it; empty: nothing. */
export function proofFaults(checks: Checks): readonly string[] {
  const failing = checks.filter(({ ok }) => !ok);
  const absent = failing.find(({ name }) => name === 'exists');
  if (absent !== undefined)
    return [isLink(absent) ? 'is a link, not a file' : isOther(absent) ? 'is no file' : 'is missing'];
  return failing.map(({ name, why: reason }) => {
    if (name !== 'owner') return 'is too old: it must be newer than the request';
    return reason?.includes(' can be changed by others') === true ? 'can be changed by others' : 'is of the wrong user';
  });
}

function isLink({ why: reason }: Checks[number]): boolean {
  return reason?.includes(' is a symbolic link') === true;
}

/** A folder, a pipe or the like stands there. */
function isOther({ why: reason }: Checks[number]): boolean {
  return reason !== null && !reason.includes(' is not there');
}

function isInTheWay(checks: Checks): boolean {
  const absent = checks.find(({ name, ok }) => name === 'exists' && !ok);
  return absent === undefined ? checks.some(({ ok }) => !ok) : isLink(absent);
}

const checkNames = {
  exists: ['The file exists', 'The file does not exist'],
  owner: ['It belongs to the right user', 'It does not belong to the right user'],
  newer: ['It is newer than the request', 'It is not newer than the request'],
} as const;

function checked(checks: Checks): Markup {
  const isMissing = checks.some(({ name, ok }) => name === 'exists' && !ok);
  const rows = checks.map((check) => {
    const { name, ok } = check;
    const [good, missing] = checkNames[name];
    const bad = isLink(check) ? 'It is a link, not a file' : missing;
    const reason = isLink(check) ? 'Remove it, as above.' : check.why;
    // Where there is no file there is nothing to say about its owner and age.
    const isOpen = isMissing && name !== 'exists';
    const [mark, spoken, text] = isOpen
      ? ['open', 'Not looked at: ', good]
      : ok
        ? ['ok', 'Yes: ', good]
        : ['failed', 'No: ', bad];
    const advice = reason === null || isOpen ? nothing : markup`<span class="hint">${reason}</span>`;
    return markup`<li class="${mark}"><span class="unseen">${spoken}</span>${text}${advice}</li>`;
  });
  const lead = checks.every(({ ok }) => ok)
    ? nothing
    : markup`<p><strong>Not yet: the file was looked at, and this is what was found.</strong></p>`;
  return markup`${lead}<ul class="checks">${rows}</ul>`;
}
