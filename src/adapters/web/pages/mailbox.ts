/**
 * Page of one mailbox: state and actions, how it signs in, its settings and their confirmation.
 *
 * All of them are texts of the table, which may be forged.
 */
import type { MailboxSettingsView, ProbeView } from '../../../admin/service.ts';
import { badge, card, definitionList, postForm, timestampUtc, untrustedText } from './components.ts';
import { type Frame, layout, type Markup, markup, nothing } from './layout.ts';
import { passwordForm, removeForm, rowFields } from './mailbox-form.ts';
import { mailboxAddress } from './mailbox-list.ts';
import { signInCard } from './oauth.ts';
import { probeCard } from './probe.ts';

/** No column of a mailbox is longer: what is confirmed is never cut. */
const wholeLength = 10_000;

/** The result of a form that is shown with the page, without a redirect. */
export type MailboxOutcome = { readonly error: string | null; readonly probe: ProbeView | null };

/** `redirectUri`: of a sign-in at a provider. */
export function mailboxPage(
  frame: Frame,
  view: MailboxSettingsView,
  redirectUri: string,
  outcome: MailboxOutcome = { error: null, probe: null },
): string {
  const main = markup`<div class="head"><h1>Mailbox ${untrustedText(view.name, 80)}</h1>${view.isPaused ? badge('idle', 'Paused') : nothing}${stateBadge(view)}</div>
${outcomeOf(outcome)}${actions(frame, view)}
${signInCard(frame, view.name, view.signIn, redirectUri)}
${card(view.state === 'unconfirmed' ? 'warn' : 'plain', 'Settings', markup`${settings(view)}${confirmForm(frame, view)}`)}
${fold('new-password', 'New password', passwordForm(frame, view), view.signIn.kind === 'password')}${fold('remove', 'Remove this mailbox', removeForm(frame, view), true)}
<p><a href="/admin/mailboxes">All mailboxes</a></p>`;
  return layout(frame, { title: 'Mailbox', navigation: 'mailboxes', width: 'narrow', main });
}

function outcomeOf({ error, probe }: MailboxOutcome): Markup {
  const said = error === null ? nothing : markup`<p class="error" role="alert">${untrustedText(error, 900)}</p>`;
  if (probe === null) return said;
  return markup`${said}${probeCard(probe, probe.failure === null ? 'The test passed' : 'The test failed')}`;
}

function actions(frame: Frame, view: MailboxSettingsView): Markup {
  const form = (action: string, text: string): Markup =>
    postForm(frame, `mailbox/${action}`, markup`<button type="submit">${text}</button>`, rowFields(view));
  return markup`<div class="buttons">${form('test', 'Test')}${view.isPaused ? nothing : postForm(frame, 'mailbox/retry', markup`<button type="submit">Try now</button>`, { name: view.name })}${view.isPaused ? form('resume', 'Resume') : form('pause', 'Pause')}<a class="button" href="${mailboxAddress(view.name, '/settings')}">Change settings</a></div>`;
}

function fold(id: string, title: string, content: Markup, isShown: boolean): Markup {
  if (!isShown) return nothing;
  return markup`<section class="card plain"><details class="fold" id="${id}"><summary>${title}</summary><div>${content}</div></details></section>`;
}

function stateBadge({ state }: MailboxSettingsView): Markup {
  if (state === 'off') return nothing;
  return state === 'confirmed' ? badge('good', 'Settings confirmed') : badge('warn', 'Settings unconfirmed');
}

function settings({ server, folder, startMs, action, target, effect, texts }: MailboxSettingsView): Markup {
  const move = target === null ? nothing : markup` to ${untrustedText(target, wholeLength)}`;
  return definitionList([
    ['Server', untrustedText(server, wholeLength)],
    ['Folder', untrustedText(folder, wholeLength)],
    ['Messages', startMs === null ? 'all' : markup`from ${timestampUtc(startMs)} on`],
    ['Then', markup`<b>${action}</b>${move}: ${effect}`],
    texts.addresses === '' ? null : ['Addresses', untrustedText(texts.addresses, wholeLength)],
    ['Interval', texts.interval === '' ? 'as configured' : `${texts.interval} s`],
  ]);
}

function confirmForm(frame: Frame, { state, name, digest }: MailboxSettingsView): Markup {
  if (state === 'off') return markup`<p class="soft">Encryption is off: every post-action acts as it is set.</p>`;
  if (state === 'confirmed') return nothing;
  const button = markup`<p>A writer of the database can change these settings. While encryption is on, messages are deleted or moved on the server, and a new password is sent there unasked, only once the settings are confirmed. If any of this is not yours, change it first.</p><button type="submit">Confirm these settings</button>`;
  return postForm(frame, 'mailbox/confirm', button, { name, digest });
}
