/**
 * Encryption is on: its state in figures, who holds the key, which passwords once stood readable, where traces of them may
 * be, and the rotation of the key.
 */
import type { EncryptionView } from '../../../admin/service.ts';
import type { Frame } from './frame.ts';
import { type Markup, markup, nothing } from './markup.ts';
import {
  badge,
  card,
  code,
  confirm,
  counted,
  facts,
  fingerprints,
  fold,
  number,
  postForm,
  time,
  timeUtc,
} from './parts.ts';

export function state({ status, keyFile }: EncryptionView): Markup {
  const underOthers = status.by_key.filter(({ key_id: id }) => id !== status.key_id);
  return card(
    'plain',
    'State',
    facts([
      ['Switch', stateWords[status.state]],
      status.stored_state === null ? null : ['In the table', `${status.stored_state}: not in force, see above`],
      status.key_id === null ? null : ['Fingerprint of the key', code(status.key_id)],
      status.next_key_id === null ? null : ['Next key', code(status.next_key_id)],
      status.changed_at === null ? null : ['Since', timeUtc(status.changed_at)],
      status.changed_by === null ? null : ['By', markup`<bdi>${status.changed_by}</bdi>`],
      ['Passwords', markup`<b>${number(status.sealed)}</b> sealed, <b>${number(status.plain)}</b> readable`],
      underOthers.length === 0 ? null : ['Under other keys', others(underOthers)],
      status.waiting === 0
        ? null
        : ['Waiting', `${counted(status.waiting, 'mailbox', 'mailboxes')} for a key that nobody holds`],
      ['Key file', markup`${code(keyFile.path)}${keyFile.isProtected ? ', protected by a passphrase' : ''}`],
      ['Keys in it', keysIn({ status, keyFile })],
    ]),
  );
}

/** What is in the memory of the daemon is not in a file that is not there. */
function keysIn({ status: { vault }, keyFile }: Pick<EncryptionView, 'status' | 'keyFile'>): Markup | string {
  if (vault.state === 'missing') return 'the file is not there';
  if (vault.state !== 'orphaned' || vault.reason?.startsWith('there is no key file') !== true)
    return fingerprints(keyFile.keyIds);
  return markup`the file is not there; in the memory of this daemon: ${fingerprints(vault.key_ids)}`;
}

const stateWords: Readonly<Record<EncryptionView['status']['state'], string>> = {
  off: 'off',
  enabling: 'being switched on',
  on: 'on',
  rotating: 'on, the key is being rotated',
  disabling: 'being switched off',
};

function others(byKey: EncryptionView['status']['by_key']): Markup {
  return markup`${byKey.map(({ key_id: id, count }, index) => [
    index === 0 ? '' : ', ',
    markup`${number(count)} under ${id === null ? 'a key that is not named' : code(id)}`,
  ])}`;
}

export function workers({ status, operation }: EncryptionView): Markup {
  const isOff = status.state === 'off';
  const isRunning = operation?.state === 'running';
  const rows = status.workers.map(
    (one) =>
      markup`<tr><th scope="row"><bdi>${one.host}</bdi> <small>pid ${`${one.pid}`}</small></th><td data-name="Runs">${one.live ? badge('good', 'runs') : badge('idle', 'gone')}</td><td data-name="Key">${isOff ? badge('idle', 'no key needed yet') : keyBadge(one, isRunning)}</td><td data-name="Vault">${isOff ? '—' : one.vault}</td><td data-name="Seen (UTC)">${time(one.seen_at)}</td></tr>`,
  );
  if (rows.length === 0) return nothing;
  const live = status.workers.filter((one) => one.live);
  // Where nobody has it, what is wrong is told above.
  const lacking = !isOff && !isRunning && live.some((one) => one.has_key) && live.some((one) => !one.has_key);
  const advice = lacking
    ? markup`<p class="hint">Copy the key file to the hosts that lack it (same owner, mode 0600): they take it up within a second.</p>`
    : nothing;
  return card(
    'plain',
    'Workers that hold the key',
    markup`<table class="cards"><caption class="unseen">Workers of this database</caption><thead><tr><th scope="col">Worker</th><th scope="col">Runs</th><th scope="col">Key</th><th scope="col">Vault</th><th scope="col">Seen (UTC)</th></tr></thead><tbody>${rows}</tbody></table>${advice}`,
  );
}

/** While something is under way every worker gets the key, and is waited for. */
function keyBadge({ has_key: hasKey, live }: EncryptionView['status']['workers'][number], isRunning: boolean): Markup {
  if (hasKey) return badge('good', 'has the key');
  if (!live) return badge('idle', 'lacks the key');
  return isRunning ? badge('busy', 'gets the key…') : badge('bad', 'lacks the key');
}

const readableShown = 10;
const readableMax = 50;

/** Passwords that stand or once stood readable: known to whoever saw the database then. */
export function readable({ status, commands }: EncryptionView): Markup {
  const { readable: all } = status;
  if (all.length === 0) return nothing;
  const rows = all
    .slice(0, readableMax)
    .map(
      ({ mailbox, since, until }) =>
        markup`<tr><th scope="row"><bdi>${mailbox}</bdi></th><td data-name="Since">${time(since)}</td><td data-name="Until">${until === null ? badge('bad', 'still') : time(until)}</td></tr>`,
    );
  const table = (part: readonly Markup[], name: string): Markup =>
    markup`<table class="cards small"><caption class="unseen">${name}</caption><thead><tr><th scope="col">Mailbox</th><th scope="col">Readable since (UTC)</th><th scope="col">Until (UTC)</th></tr></thead><tbody>${part}</tbody></table>`;
  const name = 'Passwords that stood readable';
  const more = all.length - rows.length;
  const rest = more === 0 ? nothing : markup`<p>${number(more)} more: ${code(commands.status)}</p>`;
  const list =
    rows.length > readableShown
      ? fold('readable', `Show ${counted(rows.length, 'mailbox', 'mailboxes')}`, markup`${table(rows, name)}${rest}`)
      : table(rows, name);
  return card(
    'plain',
    'Change these passwords at the provider',
    markup`<p>${counted(all.length, 'password')} once stood readable in the database. Whoever saw it, or a backup of it, then, knows ${all.length === 1 ? 'it' : 'them'}. Sealing does not undo that: a new password does.</p>${list}`,
  );
}

export function leftovers({ leftovers: all }: EncryptionView): Markup {
  if (all.length === 0) return nothing;
  return card(
    'plain',
    'Where readable passwords may still be found',
    markup`<p>In what was written before they were sealed. Changing them at the provider makes all of it worthless.</p>${fold('leftovers', 'Places, and what clears each', lines(all))}`,
  );
}

/** Lines of a text with its indentation; where a word is too long, the box scrolls, with the keyboard as well. */
function lines(all: readonly string[]): Markup {
  return markup`<pre class="lines" tabindex="0">${all.join('\n')}</pre>`;
}

export function rotation(frame: Frame, { unfinished, status }: EncryptionView): Markup {
  if (unfinished !== null || status.state !== 'on' || status.vault.state !== 'open') return nothing;
  const asked = markup`<p>Back the key file up again afterwards: a copy from before lacks the new key. Keep that copy as long as backups of the database from before.</p>${postForm(
    frame,
    'server/encryption/rotate',
    markup`<button type="submit" class="primary">Generate New Key &amp; Rotate</button>`,
  )}`;
  return card(
    'plain',
    'Rotate the key',
    markup`<p>Takes a new key into use, without a restart and while mail keeps flowing:</p><ol><li>a new key is added to the key file;</li><li>every running worker gets it;</li><li>every password is sealed anew under it;</li><li>the former key is dropped from the key file.</li></ol>${confirm('Rotate the key…', asked)}`,
  );
}
