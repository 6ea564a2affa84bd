/**
 * Server › Encryption: what is wrong first, then what the page is mainly about, then everything else worth knowing.
 *
 * Each face (off, working, on, disabling) has a file of its own beside this one; what can be wrong, cut off or finished is
 * shown on every face.
 */

import type { EncryptionView } from '../../../admin/service.ts';
import {
  asOf,
  badge,
  card,
  code,
  command,
  confirm,
  counted,
  facts,
  fingerprints,
  fold,
  number,
  postForm,
  type Tone,
  time,
  timeUtc,
} from './components.ts';
import { askToSwitchOff, proof } from './encryption-disable.ts';
import { kindOf, lastOperation, progressText, unfinished, working } from './encryption-operation.ts';
import { type EnableForm, type Frame, layout, type Markup, markup, nothing, type Refresh } from './layout.ts';

/** `form`: the boxes that were ticked when enabling was refused. */
export function encryptionPage(frame: Frame, view: EncryptionView, form: EnableForm | null): string {
  const [tone, text] = stateOf(view);
  // A form that was refused is not taken away from under whoever corrects it.
  const live = form === null ? refresh(view, text) : null;
  const main = markup`<div class="head"><h1><span class="crumb">Server ›</span> Encryption</h1>${badge(tone, text)}${live === null ? nothing : asOf(frame.atMs)}</div>
${view.diagnostics.map(diagnosticCard)}${lastOperation(view, 'first')}${unfinished(frame, view)}
${face(frame, view, form)}
${lastOperation(view, 'last')}`;
  return layout(frame, {
    title: `Encryption: ${text.toLowerCase()}`,
    place: 'encryption',
    width: 'narrow',
    main,
    refresh: live,
  });
}

function face(frame: Frame, view: EncryptionView, form: EnableForm | null): Markup {
  if (view.mode === 'off') return offFace(frame, view, form);
  if (view.mode === 'working') return markup`${working(view)}${byHand}${state(view)}${workers(view)}`;
  const rest = markup`${state(view)}${workers(view)}${readable(view)}${leftovers(view)}`;
  if (view.mode === 'disabling') return markup`${proof(frame, view)}${backup(frame, view)}${rest}`;
  const isVerified = view.backup !== null;
  const copy = backup(frame, view);
  return markup`${isVerified ? nothing : copy}${state(view)}${isVerified ? copy : nothing}${workers(view)}${readable(view)}${leftovers(view)}${rotation(frame, view)}${askToSwitchOff(frame, view)}`;
}

function stateOf(view: EncryptionView): readonly [Tone, string] {
  const kind = kindOf(view);
  if (view.mode === 'working') {
    const words = { enable: 'Being switched on', rotate: 'Key being rotated', disable: 'Being switched off' } as const;
    return ['busy', words[kind]];
  }
  if (view.mode === 'off') return ['idle', view.unfinished === null ? 'Off' : 'Cut off half way'];
  if (view.unfinished !== null) return ['warn', 'Cut off half way'];
  if (view.diagnostics.length > 0) return ['bad', 'On, and something is wrong'];
  if (view.mode === 'disabling') return ['warn', 'On, asked to switch off'];
  return ['good', 'On'];
}

const address = '/admin/server/encryption';

/** For browsers that neither run the script nor load the page again by themselves. */
const byHand = markup`<noscript><p><a href="${address}">Show how far it is</a></p></noscript>`;

/** Without a script a page with boxes to tick stays as it is. */
function refresh(view: EncryptionView, text: string): Refresh {
  if (view.mode === 'working') return { seconds: 2, secondsWithoutScript: 2, address, announce: progressText(view) };
  const announce = `Encryption: ${text}${view.diagnostics.length === 0 ? '' : `. ${view.diagnostics.map(({ title }) => title).join('. ')}`}.`;
  return { seconds: 10, secondsWithoutScript: view.mode === 'off' ? null : 60, address, announce };
}

/** One thing that is wrong: what happened, what still works, what to do, the exact command. */
function diagnosticCard({
  title,
  description,
  unaffected,
  remedy,
  command: line,
}: EncryptionView['diagnostics'][number]): Markup {
  return markup`<section class="card bad"><h2>${title}</h2><dl class="trouble"><div><dt>What happened</dt><dd>${description}</dd></div><div><dt>What still works</dt><dd>${unaffected}</dd></div><div><dt>What to do</dt><dd>${remedy}${line === null ? nothing : command(line)}</dd></div></dl></section>
`;
}

/**
 * The copy of the key file: how it is made, and the comparison with the keys in use.
 *
 * The script of this page reads the copy that is chosen, computes the fingerprints of its keys in the browser, and sends
 * those alone: the field for the file has no name, so that no browser sends it.
 */

function backup(frame: Frame, view: EncryptionView): Markup {
  const { backup: verified, keyFile, commands, status } = view;
  // Where the key is in no file that is right, there is nothing to copy: what to do is told as what is wrong.
  const isNowhere = status.vault.state === 'missing' || status.vault.state === 'orphaned';
  if (keyFile.keyIds.length === 0 || isNowhere) return nothing;
  const mark = verified === null ? nothing : markup` ${badge('good', 'Verified')}`;
  const heading = verified === null ? 'Back up the key file now' : 'Backup of the key file';
  const content = markup`${introduction(view)}<ol class="tasks"><li><h3>Copy it</h3><p>On this server. Then move the copy from your home folder to a place apart from the backups of the database: whoever has both has the passwords.</p>${command(commands.backup)}</li>
<li><h3>Verify the copy</h3>${keyFile.isProtected ? byCommand(view) : byBrowser(frame, view)}</li></ol>`;
  return card(verified === null ? 'warn' : 'plain', heading, content, mark);
}

function introduction({ backup: verified, status, keyFile }: EncryptionView): Markup {
  if (verified !== null)
    return markup`<p>A copy with ${fingerprints(verified.keyIds)} was verified ${timeUtc(verified.atMs)} by <bdi>${verified.by}</bdi>.</p>`;
  const key = status.key_id === null ? fingerprints(keyFile.keyIds) : code(status.key_id);
  return markup`<p>The key with the fingerprint ${key} is in one place only: ${code(keyFile.path)}. <strong>If that file is lost, so are the passwords.</strong> No copy that holds it was verified here yet.</p>`;
}

function byCommand({ commands }: EncryptionView): Markup {
  return markup`<p>The key file is protected by a passphrase, and so is a copy of it: a browser cannot open it. On this server, this compares the two without printing either:</p>${command(commands.verify)}`;
}

function byBrowser(frame: Frame, { commands, keyFile }: EncryptionView): Markup {
  const form = postForm(
    frame,
    'server/encryption/verify-backup',
    markup`<div class="verify" data-verify="${keyFile.keyIds.join(' ')}"><label for="copy">The copy of the key file</label><input id="copy" type="file" aria-describedby="copy-privacy"><p id="copy-privacy" class="hint">It is read by this browser alone. Only its fingerprints are sent, never the key.</p><p class="verdict" role="status" data-verdict></p><input type="hidden" name="key_ids" value=""><button type="submit" class="primary">Verify My Backup</button></div>`,
  );
  const how = markup`<p>Choose it from a place that this browser reaches. Do not carry a bare key to a desk for this: on the server the command compares as well.</p>`;
  const onServer = fold('verify-command', 'Or compare on the server', command(commands.verify));
  return markup`<div class="scripted">${how}${form}${onServer}</div><div class="unscripted"><p>Without JavaScript this page cannot compute fingerprints. On this server, this compares the copy with the key in use:</p>${command(commands.verify)}</div>`;
}

/**
 * Encryption is off: what it protects and what it does not, what switching it on binds to, and the form.
 */

function offFace(frame: Frame, view: EncryptionView, form: EnableForm | null): Markup {
  return markup`<p class="lead">The mail servers want the real passwords, so the daemon must have them. Without encryption they stand readable in the database. With it, each is sealed under a key in a file on this server, which is never in the database.</p>
${now(view)}${protection}${before(view)}${enableForm(frame, view, form)}`;
}

function now({ status, keyFile }: EncryptionView): Markup {
  const key: Markup | string = keyFile.keyIds.length === 0 ? 'none yet' : fingerprints(keyFile.keyIds);
  return markup`<section class="card plain"><h2>Now</h2>${facts([
    [
      'Passwords',
      markup`${counted(status.plain, 'password')} readable in the database, ${counted(status.sealed, 'sealed', 'sealed')}`,
    ],
    ['Key file', code(keyFile.path)],
    ['Keys in it', key],
  ])}</section>`;
}

const protection = markup`<div class="halves"><section class="card plain"><h2>What it protects</h2><ul class="marks yes">
<li>The database, its dumps, backups and replicas: whoever has only those has no password.</li>
<li>Each password on its way: somebody who can write to the database cannot point a mailbox at a server of theirs and be handed its password.</li>
</ul></section>
<section class="card plain"><h2>What it does not protect from</h2><ul class="marks no">
<li>Somebody who holds both the key file and the database, or who is root on this server.</li>
<li>Key file and database kept in the same backup: that backup then holds every password.</li>
<li>Backups and logs of the database from before: the passwords in them stay readable.</li>
</ul></section></div>`;

/** Something to have done on the database before passwords are sealed: sentences, and lines to be run, which are set in. */
function before({ leftovers }: EncryptionView): Markup {
  if (leftovers.length === 0) return nothing;
  const told = leftovers.map((line) => (line.startsWith(' ') ? command(line.trim()) : markup`<p>${line}</p>`));
  return card('plain', 'Have this done first', markup`${told}`);
}

function enableForm(frame: Frame, { status, keyFile }: EncryptionView, form: EnableForm | null): Markup {
  const isThere = keyFile.keyIds.length > 0;
  const refused =
    form === null ? nothing : markup`<p class="error" role="alert">Nothing was changed: ${missing(form)}</p>`;
  const content = markup`${refused}<fieldset><legend class="unseen">Before encryption is switched on</legend>
${box('accept_key_loss', form?.keyLoss === true, markup`I understand: if ${code('data/encryption-key.bin')} is lost, <strong>all encrypted data is lost</strong> with it.${here(keyFile.path)}`)}
${box('backup_prepared', form?.backup === true, markup`A <strong>secure way of backing up the key file</strong> is prepared, apart from the backups of the database.`)}
</fieldset><button type="submit" class="primary">Generate Key File &amp; Enable Encryption</button><p class="hint">${counted(status.plain, 'password')} will be sealed while mail keeps flowing; nothing is restarted.${isThere ? ' The key file that is there is used as it is.' : ''}</p>`;
  return markup`<section class="card accent" id="enable"><h2>Switch encryption on</h2><ul class="marks warn">
<li><strong>Losing the key file loses the passwords.</strong> There is no second copy and no way around it: each would have to be entered again.</li>
<li><strong>Switching off again needs the file system of this server.</strong> This page alone cannot do it: a file has to be created there.</li>
</ul>${postForm(frame, 'server/encryption/enable', content)}</section>`;
}

/** The name in the sentence is that of the usual place. */
function here(path: string): Markup {
  return path === 'data/encryption-key.bin' ? nothing : markup` Here that file is ${code(path)}.`;
}

function box(name: string, isTicked: boolean, text: Markup): Markup {
  return markup`<label class="box-line"><input type="checkbox" name="${name}" value="yes" required${isTicked ? markup` checked` : nothing}><span>${text}</span></label>`;
}

function missing({ keyLoss, backup }: EnableForm): string {
  if (keyLoss && backup) return 'try it again.';
  return keyLoss || backup ? 'the other box has to be ticked too.' : 'both boxes have to be ticked.';
}

/**
 * Encryption is on: its state in figures, who holds the key, which passwords once stood readable, where traces of them may
 * be, and the rotation of the key.
 */

function state({ status, keyFile }: EncryptionView): Markup {
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

function workers({ status, operation }: EncryptionView): Markup {
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
function readable({ status, commands }: EncryptionView): Markup {
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

function leftovers({ leftovers: all }: EncryptionView): Markup {
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

function rotation(frame: Frame, { unfinished, status }: EncryptionView): Markup {
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
