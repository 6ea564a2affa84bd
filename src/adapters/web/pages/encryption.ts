/**
 * Server › Encryption page: problems first, then the part for the mode (off, working, on, disabling), then state and
 * workers.
 *
 * Problems, an interrupted operation and the last operation are shown in every mode.
 */

import type { EncryptionView } from '../../../admin/service.ts';
import { asRunHere } from '../../../text/program-name.ts';
import {
  asOf,
  badge,
  card,
  code,
  collapsible,
  command,
  confirmation,
  countOf,
  definitionList,
  fingerprints,
  formatNumber,
  postForm,
  type Tone,
  timestamp,
  timestampUtc,
  zone,
} from './components.ts';
import { disableCard, proofCard } from './encryption-disable.ts';
import { kindOf, lastOperation, progressText, runningCard, unfinishedCard } from './encryption-operation.ts';
import { type EnableForm, type Frame, layout, type Markup, markup, nothing, type Refresh } from './layout.ts';

/** `form`: the boxes that were ticked when enabling was refused. */
export function encryptionPage(frame: Frame, view: EncryptionView, form: EnableForm | null): string {
  const [tone, text] = stateOf(view);
  // A refused form is not replaced while a person corrects it.
  const live = form === null ? refresh(view, text) : null;
  const main = markup`<div class="head"><h1><span class="crumb">Server ›</span> Encryption</h1>${badge(tone, text)}${live === null ? nothing : asOf(frame.atMs)}</div>
${view.diagnostics.map(diagnosticCard)}${lastOperation(view, 'first')}${unfinishedCard(frame, view)}
${modePart(frame, view, form)}
${view.mode === 'on' ? nothing : lastOperation(view, 'last')}`;
  return layout(frame, {
    title: `Encryption: ${text.toLowerCase()}`,
    navigation: 'encryption',
    width: view.mode === 'on' && view.backup === null ? 'wide' : 'narrow',
    main,
    refresh: live,
  });
}

function modePart(frame: Frame, view: EncryptionView, form: EnableForm | null): Markup {
  if (view.mode === 'off') return offPart(frame, view, form);
  if (view.mode === 'working') return markup`${runningCard(view)}${manualRefresh}${state(view)}${workers(view)}`;
  const rest = markup`${state(view)}${workers(view)}${plaintextPasswords(view)}${leftovers(view)}`;
  if (view.mode === 'disabling') return markup`${proofCard(frame, view)}${backup(frame, view)}${rest}`;
  const isVerified = view.backup !== null;
  const copy = backup(frame, view);
  const live = view.status.workers.filter((one) => one.live).length;
  const rows = [
    isVerified ? folded('backup', 'Backup of the key file', copy, markup` ${badge('good', 'Keys match')}`) : nothing,
    folded('workers', `Workers that have the key: ${formatNumber(live)} running`, workers(view)),
    folded('plaintext-passwords', 'Change these passwords at the provider', plaintextPasswords(view)),
    folded('plaintext-places', 'Where plain-text passwords may still be found', leftovers(view)),
    folded('rotation', 'Rotate the key', rotation(frame, view)),
    folded('disabling', 'Disable encryption', disableCard(frame, view)),
    folded('last-operation', 'Last operation', lastOperation(view, 'last')),
  ];
  const other = markup`${state(view)}<div class="rows">${rows}</div>`;
  return isVerified || copy === nothing
    ? other
    : markup`<div class="twins"><div>${copy}</div><div>${other}</div></div>`;
}

/** A part that is opened on demand, so that the page fits a window; its heading is that of the row then. */
function folded(id: string, title: string, part: Markup, mark: Markup = nothing): Markup {
  if (part === nothing) return nothing;
  return markup`<details id="${id}"><summary><span>${title}${mark}</span></summary>${part}</details>`;
}

function stateOf(view: EncryptionView): readonly [Tone, string] {
  const kind = kindOf(view);
  if (view.mode === 'working') {
    const words = { enable: 'Being enabled', rotate: 'Key being rotated', disable: 'Being disabled' } as const;
    return ['busy', words[kind]];
  }
  if (view.mode === 'off') return ['idle', view.unfinished === null ? 'Off' : 'Interrupted'];
  if (view.unfinished !== null) return ['warn', 'Interrupted'];
  if (view.diagnostics.length > 0) return ['bad', 'On, with problems'];
  if (view.mode === 'disabling') return ['warn', 'On, disable requested'];
  return ['good', 'On'];
}

const address = '/admin/server/encryption';

/** For browsers that neither run the script nor reload the page automatically. */
const manualRefresh = markup`<noscript><p><a href="${address}">Show how far it is</a></p></noscript>`;

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
  return markup`<section class="card bad"><h2>${title}</h2><dl class="trouble"><div><dt>What happened</dt><dd>${description}</dd></div><div><dt>What still works</dt><dd>${unaffected}</dd></div><div><dt>What to do</dt><dd>${asRunHere(remedy)}${line === null ? nothing : command(line)}</dd></div></dl></section>
`;
}

// Backup of the key file: how it is made, and its comparison with the keys in use. The script reads the chosen copy,
// computes the fingerprints of its keys in the browser, and sends those alone: the file input has no name, so that no
// browser sends it.

function backup(frame: Frame, view: EncryptionView): Markup {
  const { backup: verified, keyFile, commands, status } = view;
  // Without an intact key file there is nothing to copy; the problem above says what to do.
  const isNowhere = status.vault.state === 'missing' || status.vault.state === 'orphaned';
  if (keyFile.keyIds.length === 0 || isNowhere) return nothing;
  const mark = verified === null ? nothing : markup` ${badge('good', 'Keys match')}`;
  const heading = verified === null ? 'Back up the key file now' : 'Backup of the key file';
  const content = markup`${introduction(view)}<ol class="tasks"><li><h3>Copy it</h3><p>On this server. Then move the copy from your home folder to storage apart from the backups of the database: both together reveal the passwords.</p>${command(commands.backup)}</li>
<li><h3>Verify the copy</h3>${keyFile.isProtected ? byCommand(view) : byBrowser(frame, view)}</li></ol>`;
  return card(verified === null ? 'warn' : 'plain', heading, content, mark);
}

function introduction({ backup: verified, status, keyFile }: EncryptionView): Markup {
  if (verified !== null)
    return markup`<p>A copy with ${fingerprints(verified.keyIds)} was compared ${timestampUtc(verified.atMs)} by <bdi>${verified.by}</bdi>. This page cannot see where it is stored: keep it off this server.</p>`;
  const key = status.key_id === null ? fingerprints(keyFile.keyIds) : code(status.key_id);
  return markup`<p>The key with the fingerprint ${key} is stored only once: in ${code(keyFile.path)}. <strong>If that file is lost, so are the passwords.</strong> No copy that holds it was verified here yet.</p>`;
}

function byCommand({ commands }: EncryptionView): Markup {
  return markup`<p>The key file is protected by a passphrase, and so is a copy of it: a browser cannot open it. This command on the server compares the two without printing either:</p>${command(commands.verify)}`;
}

function byBrowser(frame: Frame, { commands, keyFile }: EncryptionView): Markup {
  const form = postForm(
    frame,
    'server/encryption/verify-backup',
    markup`<div class="verify" data-verify="${keyFile.keyIds.join(' ')}"><label for="copy">The copy of the key file</label><input id="copy" type="file" aria-describedby="copy-privacy"><p id="copy-privacy" class="hint">It is read by this browser alone. Only its fingerprints are sent, never the key. This page cannot see where the copy is stored: the key file itself passes too, and is no backup.</p><p class="verdict" role="status" data-verdict></p><input type="hidden" name="key_ids" value=""><button type="submit" class="primary">Verify my backup</button></div>`,
  );
  const how = markup`<p>Choose a copy that this browser can read. Do not move an unprotected key to your computer for this: the command on the server compares as well.</p>`;
  const onServer = collapsible('verify-command', 'Or compare on the server', command(commands.verify));
  return markup`<div class="scripted">${how}${form}${onServer}</div><div class="unscripted"><p>Without JavaScript this page cannot compute fingerprints. This command on the server compares the copy with the key in use:</p>${command(commands.verify)}</div>`;
}

// Encryption is off: what it protects and what it does not, the consequences of enabling it, and the form.

function offPart(frame: Frame, view: EncryptionView, form: EnableForm | null): Markup {
  return markup`<p class="lead">The mail servers require the real passwords, so the daemon must have them. Without encryption they are stored in plain text in the database. With it, each is sealed under a key in a file on this server, which is never in the database.</p>
${now(view)}${protection}${before(view)}${enableForm(frame, view, form)}`;
}

function now({ status, keyFile }: EncryptionView): Markup {
  const key: Markup | string = keyFile.keyIds.length === 0 ? 'none yet' : fingerprints(keyFile.keyIds);
  return markup`<section class="card plain"><h2>Now</h2>${definitionList([
    [
      'Passwords',
      markup`${countOf(status.plaintext, 'password')} in plain text in the database, ${countOf(status.sealed, 'sealed', 'sealed')}`,
    ],
    tokenCounts(status),
    ['Key file', code(keyFile.path)],
    ['Keys in it', key],
  ])}</section>`;
}

const protection = markup`<div class="halves"><section class="card plain"><h2>What it protects</h2><ul class="marks yes">
<li>The database, its dumps, backups and replicas: these alone give no password.</li>
<li>Each password in use: an attacker who can write to the database cannot point a mailbox at another server and receive its password.</li>
</ul></section>
<section class="card plain"><h2>What it does not protect from</h2><ul class="marks no">
<li>An attacker who has both the key file and the database, or who is root on this server.</li>
<li>Key file and database in the same backup: that backup then contains every password.</li>
<li>Earlier backups and logs of the database: the passwords in them remain in plain text.</li>
</ul></section></div>`;

/** To be done on the database before passwords are sealed: sentences, and indented lines, which are commands. */
function before({ leftovers }: EncryptionView): Markup {
  if (leftovers.length === 0) return nothing;
  const items = leftovers.map((line) =>
    line.startsWith(' ') ? command(line.trim()) : markup`<p>${asRunHere(line)}</p>`,
  );
  return card('plain', 'Do this first', markup`${items}`);
}

function enableForm(frame: Frame, { status, keyFile }: EncryptionView, form: EnableForm | null): Markup {
  const isThere = keyFile.keyIds.length > 0;
  const refused =
    form === null ? nothing : markup`<p class="error" role="alert">Nothing was changed: ${missing(form)}</p>`;
  const content = markup`${refused}<fieldset><legend class="unseen">Before encryption is enabled</legend>
${box('accept_key_loss', form?.keyLoss === true, markup`I understand: if ${code('data/encryption-key.bin')} is lost, <strong>all mailbox passwords are lost</strong> with it.${actualPath(keyFile.path)}`)}
${box('backup_prepared', form?.backup === true, markup`A <strong>secure way of backing up the key file</strong> is prepared, apart from the backups of the database.`)}
</fieldset><button type="submit" class="primary">Generate key file &amp; enable encryption</button><p class="hint">${countOf(status.plaintext, 'password')} will be sealed without a restart and without interrupting the polls.${isThere ? ' The existing key file is used unchanged.' : ''}</p>`;
  return markup`<section class="card accent" id="enable"><h2>Enable encryption</h2><ul class="marks warn">
<li><strong>Losing the key file loses the passwords.</strong> There is no second copy and no way around it: each password would have to be entered again.</li>
<li><strong>Disabling it again needs the file system of this server.</strong> This page alone cannot do it: a file has to be created there.</li>
</ul>${postForm(frame, 'server/encryption/enable', content)}</section>`;
}

/** The sentence names the default path. */
function actualPath(path: string): Markup {
  return path === 'data/encryption-key.bin' ? nothing : markup` Here that file is ${code(path)}.`;
}

function box(name: string, isTicked: boolean, text: Markup): Markup {
  return markup`<label class="box-line"><input type="checkbox" name="${name}" value="yes" required${isTicked ? markup` checked` : nothing}><span>${text}</span></label>`;
}

function missing({ keyLoss, backup }: EnableForm): string {
  if (keyLoss && backup) return 'try again.';
  return keyLoss || backup ? 'tick the other box too.' : 'tick both boxes.';
}

// Encryption is on: its state in figures, the workers with the key, passwords that were once in plain text, and the
// rotation.

function state({ status, keyFile }: EncryptionView): Markup {
  const underOthers = status.by_key.filter(({ key_id: id }) => id !== status.key_id);
  const { keyIds } = keyFile;
  const isTheOnlyKey = status.vault.state === 'open' && keyIds.length === 1 && keyIds[0] === status.key_id;
  return card(
    'plain',
    'State',
    definitionList(
      [
        ['Switch', stateWords[status.state]],
        status.stored_state === null ? null : ['In the table', `${status.stored_state}: not in force, see above`],
        status.key_id === null ? null : ['Fingerprint of the key', code(status.key_id)],
        status.next_key_id === null ? null : ['Next key', code(status.next_key_id)],
        status.changed_at === null ? null : ['Since', timestampUtc(status.changed_at)],
        status.changed_by === null ? null : ['By', markup`<bdi>${status.changed_by}</bdi>`],
        [
          'Passwords',
          markup`<b>${formatNumber(status.sealed)}</b> sealed, <b>${formatNumber(status.plaintext)}</b> in plain text`,
        ],
        tokenCounts(status),
        underOthers.length === 0 ? null : ['Under other keys', others(underOthers)],
        status.waiting === 0
          ? null
          : ['Waiting', `${countOf(status.waiting, 'mailbox', 'mailboxes')} for a key that no worker has`],
        ['Key file', markup`${code(keyFile.path)}${keyFile.isProtected ? ', protected by a passphrase' : ''}`],
        isTheOnlyKey ? null : ['Keys in it', keysIn({ status, keyFile })],
      ],
      'pairs',
    ),
  );
}

/** Refresh and access tokens; null: there are none. */
function tokenCounts(status: EncryptionView['status']): readonly [string, Markup] | null {
  const { sealed_tokens: sealed, plaintext_tokens: plain } = status;
  if (sealed + plain === 0) return null;
  return ['OAuth 2 tokens', markup`<b>${formatNumber(sealed)}</b> sealed, <b>${formatNumber(plain)}</b> in plain text`];
}

/** The daemon may still have keys in memory whose file is missing. */
function keysIn({ status: { vault }, keyFile }: Pick<EncryptionView, 'status' | 'keyFile'>): Markup | string {
  if (vault.state === 'missing') return 'the file is not there';
  if (vault.state !== 'orphaned' || vault.reason?.startsWith('there is no key file') !== true)
    return fingerprints(keyFile.keyIds);
  return markup`the file is not there; in the memory of this daemon: ${fingerprints(vault.key_ids)}`;
}

const stateWords: Readonly<Record<EncryptionView['status']['state'], string>> = {
  off: 'off',
  enabling: 'being enabled',
  on: 'on',
  rotating: 'on, the key is being rotated',
  disabling: 'being disabled',
};

function others(byKey: EncryptionView['status']['by_key']): Markup {
  return markup`${byKey.map(({ key_id: id, count }, index) => [
    index === 0 ? '' : ', ',
    markup`${formatNumber(count)} under ${id === null ? 'an unknown key' : code(id)}`,
  ])}`;
}

function workers({ status, operation }: EncryptionView): Markup {
  const isOff = status.state === 'off';
  const isRunning = operation?.state === 'running';
  const rows = status.workers.map(
    (one) =>
      markup`<tr><th scope="row"><bdi>${one.host}</bdi> <small>pid ${`${one.pid}`}</small></th><td data-name="Runs">${one.live ? badge('good', 'runs') : badge('idle', 'gone')}</td><td data-name="Key">${isOff ? badge('idle', 'no key needed yet') : keyBadge(one, isRunning)}</td><td data-name="Vault">${isOff ? '—' : one.vault}</td><td data-name="Seen">${timestamp(one.seen_at)}</td></tr>`,
  );
  if (rows.length === 0) return nothing;
  const live = status.workers.filter((one) => one.live);
  // If no worker has it, a problem above says so.
  const lacking = !isOff && !isRunning && live.some((one) => one.has_key) && live.some((one) => !one.has_key);
  const advice = lacking
    ? markup`<p class="hint">Copy the key file to the hosts that lack it (same owner, mode 0600): they load it within a second.</p>`
    : nothing;
  return card(
    'plain',
    'Workers that have the key',
    markup`<table class="cards"><caption class="unseen">Workers of this database</caption><thead><tr><th scope="col">Worker</th><th scope="col">Runs</th><th scope="col">Key</th><th scope="col">Vault</th><th scope="col">Seen (${zone})</th></tr></thead><tbody>${rows}</tbody></table>${advice}`,
  );
}

/** During an operation every worker is given the key and waited for. */
function keyBadge({ has_key: hasKey, live }: EncryptionView['status']['workers'][number], isRunning: boolean): Markup {
  if (hasKey) return badge('good', 'has the key');
  if (!live) return badge('idle', 'lacks the key');
  return isRunning ? badge('busy', 'gets the key…') : badge('bad', 'lacks the key');
}

const plaintextShown = 10;
const plaintextMax = 50;

/** Passwords that are or once were in plain text: known to anyone who could read the database then. */
function plaintextPasswords({ status, commands }: EncryptionView): Markup {
  const { plaintext_periods: all } = status;
  if (all.length === 0) return nothing;
  const rows = all
    .slice(0, plaintextMax)
    .map(
      ({ mailbox, since, until }) =>
        markup`<tr><th scope="row"><bdi>${mailbox}</bdi></th><td data-name="Since">${timestamp(since)}</td><td data-name="Until">${until === null ? badge('bad', 'still') : timestamp(until)}</td></tr>`,
    );
  const table = (part: readonly Markup[], name: string): Markup =>
    markup`<table class="cards small"><caption class="unseen">${name}</caption><thead><tr><th scope="col">Mailbox</th><th scope="col">In plain text since (${zone})</th><th scope="col">Until (${zone})</th></tr></thead><tbody>${part}</tbody></table>`;
  const name = 'Passwords that were in plain text';
  const more = all.length - rows.length;
  const rest = more === 0 ? nothing : markup`<p>${formatNumber(more)} more: ${code(commands.status)}</p>`;
  const list =
    rows.length > plaintextShown
      ? collapsible(
          'plaintext',
          `Show ${countOf(rows.length, 'mailbox', 'mailboxes')}`,
          markup`${table(rows, name)}${rest}`,
        )
      : table(rows, name);
  return card(
    'plain',
    'Change these passwords at the provider',
    markup`<p>${countOf(all.length, 'password')} were once in plain text in the database. Anyone who could read it, or a backup of it, may know ${all.length === 1 ? 'it' : 'them'}. Only a new password undoes that.</p>${list}`,
  );
}

function leftovers({ leftovers: all }: EncryptionView): Markup {
  if (all.length === 0) return nothing;
  return card(
    'plain',
    'Where plain-text passwords may still be found',
    markup`<p>In data that was written before they were sealed. Changing the passwords at the provider makes all of it worthless.</p>${collapsible('leftovers', 'Where, and how to clear it', lines(all.map(asRunHere)))}`,
  );
}

/** Preformatted lines; a long one scrolls, also with the keyboard. */
function lines(all: readonly string[]): Markup {
  return markup`<pre class="lines" tabindex="0">${all.join('\n')}</pre>`;
}

function rotation(frame: Frame, { unfinished, status }: EncryptionView): Markup {
  if (unfinished !== null || status.state !== 'on' || status.vault.state !== 'open') return nothing;
  const question = markup`<p>Back the key file up again afterwards: an earlier copy lacks the new key. Keep that copy as long as earlier backups of the database.</p>`;
  const form = postForm(
    frame,
    'server/encryption/rotate',
    markup`<button type="submit" class="primary">Generate new key &amp; rotate</button>`,
  );
  return card(
    'plain',
    'Rotate the key',
    markup`<p>Starts using a new key, without a restart and without interrupting the polls:</p><ol><li>a new key is added to the key file;</li><li>every running worker gets it;</li><li>every password is re-encrypted under it;</li><li>the former key is dropped from the key file.</li></ol>${confirmation('Rotate the key…', question, form)}`,
  );
}
