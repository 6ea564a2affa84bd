/**
 * Encryption is off: what it protects and what it does not, what switching it on binds to, and the form.
 */
import type { EncryptionView } from '../../../admin/service.ts';
import type { EnableForm, Frame } from './frame.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { card, code, command, counted, facts, fingerprints, postForm } from './parts.ts';

export function offFace(frame: Frame, view: EncryptionView, form: EnableForm | null): Markup {
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
