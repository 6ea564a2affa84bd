/**
 * The copy of the key file: how it is made, and the comparison with the keys in use.
 *
 * The script of this page reads the copy that is chosen, computes the fingerprints of its keys in the browser, and sends
 * those alone: the field for the file has no name, so that no browser sends it.
 */
import type { EncryptionView } from '../../../admin/service.ts';
import type { Frame } from './frame.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { badge, card, code, command, fingerprints, fold, postForm, timeUtc } from './parts.ts';

export function backup(frame: Frame, view: EncryptionView): Markup {
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
