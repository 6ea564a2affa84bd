/**
 * Server › Encryption: what is wrong first, then what the page is mainly about, then everything else worth knowing.
 *
 * Each face (off, working, on, disabling) has a file of its own beside this one; what can be wrong, cut off or finished is
 * shown on every face.
 */
import type { EncryptionView } from '../../../admin/service.ts';
import { backup } from './encryption-backup.ts';
import { askToSwitchOff, proof } from './encryption-disable.ts';
import { offFace } from './encryption-enable.ts';
import { leftovers, readable, rotation, state, workers } from './encryption-on.ts';
import { kindOf, lastOperation, progressText, unfinished, working } from './encryption-operation.ts';
import type { EnableForm, Frame } from './frame.ts';
import { layout, type Refresh } from './layout.ts';
import { type Markup, markup, nothing } from './markup.ts';
import { asOf, badge, command, type Tone } from './parts.ts';

/** `form`: the boxes that were ticked when enabling was refused. */
export function encryptionPage(frame: Frame, view: EncryptionView, form: EnableForm | null): string {
  const [tone, text] = stateOf(view);
  // A form that was refused is not taken away from under whoever corrects it.
  const live = form === null ? refresh(view, text) : null;
  const main = markup`<div class="head"><h1><span class="crumb">Server ›</span> Encryption</h1>${badge(tone, text)}${live === null ? nothing : asOf(frame.atMs)}</div>
${view.troubles.map(trouble)}${lastOperation(view, 'first')}${unfinished(frame, view)}
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
  if (view.face === 'off') return offFace(frame, view, form);
  if (view.face === 'working') return markup`${working(view)}${byHand}${state(view)}${workers(view)}`;
  const rest = markup`${state(view)}${workers(view)}${readable(view)}${leftovers(view)}`;
  if (view.face === 'disabling') return markup`${proof(frame, view)}${backup(frame, view)}${rest}`;
  const isVerified = view.backup !== null;
  const copy = backup(frame, view);
  return markup`${isVerified ? nothing : copy}${state(view)}${isVerified ? copy : nothing}${workers(view)}${readable(view)}${leftovers(view)}${rotation(frame, view)}${askToSwitchOff(frame, view)}`;
}

function stateOf(view: EncryptionView): readonly [Tone, string] {
  const kind = kindOf(view);
  if (view.face === 'working') {
    const words = { enable: 'Being switched on', rotate: 'Key being rotated', disable: 'Being switched off' } as const;
    return ['busy', words[kind]];
  }
  if (view.face === 'off') return ['idle', view.unfinished === null ? 'Off' : 'Cut off half way'];
  if (view.unfinished !== null) return ['warn', 'Cut off half way'];
  if (view.troubles.length > 0) return ['bad', 'On, and something is wrong'];
  if (view.face === 'disabling') return ['warn', 'On, asked to switch off'];
  return ['good', 'On'];
}

const address = '/admin/server/encryption';

/** For browsers that neither run the script nor load the page again by themselves. */
const byHand = markup`<noscript><p><a href="${address}">Show how far it is</a></p></noscript>`;

/** Without a script a page with boxes to tick stays as it is. */
function refresh(view: EncryptionView, text: string): Refresh {
  if (view.face === 'working') return { seconds: 2, secondsWithoutScript: 2, address, announce: progressText(view) };
  const announce = `Encryption: ${text}${view.troubles.length === 0 ? '' : `. ${view.troubles.map(({ title }) => title).join('. ')}`}.`;
  return { seconds: 10, secondsWithoutScript: view.face === 'off' ? null : 60, address, announce };
}

/** One thing that is wrong: what happened, what still works, what to do, the exact command. */
function trouble({ title, what, works, todo, command: line }: EncryptionView['troubles'][number]): Markup {
  return markup`<section class="card bad"><h2>${title}</h2><dl class="trouble"><div><dt>What happened</dt><dd>${what}</dd></div><div><dt>What still works</dt><dd>${works}</dd></div><div><dt>What to do</dt><dd>${todo}${line === null ? nothing : command(line)}</dd></div></dl></section>
`;
}
