/**
 * Page of one mailbox: how it signs in, the settings that a confirmation covers, and the button that confirms them.
 *
 * All of them are texts of the table, which may be forged.
 */
import type { MailboxSettingsView } from '../../../admin/service.ts';
import { badge, card, definitionList, postForm, timestampUtc, untrustedText } from './components.ts';
import { type Frame, layout, type Markup, markup, nothing } from './layout.ts';
import { signInCard } from './oauth.ts';

/** No column of a mailbox is longer: what is confirmed is never cut. */
const wholeLength = 10_000;

/** `redirectUri`: of a sign-in at a provider. */
export function mailboxPage(frame: Frame, view: MailboxSettingsView, redirectUri: string): string {
  const main = markup`<div class="head"><h1>Mailbox ${untrustedText(view.name, 80)}</h1>${stateBadge(view)}</div>
${signInCard(frame, view.name, view.signIn, redirectUri)}
<p class="lead">A writer of the database can change these settings. While encryption is on, messages are deleted or moved on the server, and a new password is sent there unasked, only once the settings are confirmed.</p>
${card(view.state === 'unconfirmed' ? 'warn' : 'plain', 'Settings', markup`${settings(view)}${form(frame, view)}`)}
<p><a href="/admin/overview">Back to the overview</a></p>`;
  return layout(frame, { title: 'Mailbox', navigation: 'overview', main });
}

function stateBadge({ state }: MailboxSettingsView): Markup {
  if (state === 'off') return badge('idle', 'Encryption is off');
  return state === 'confirmed' ? badge('good', 'Confirmed') : badge('warn', 'Unconfirmed');
}

function settings({ server, folder, startMs, action, target, effect }: MailboxSettingsView): Markup {
  const move = target === null ? nothing : markup` to ${untrustedText(target, wholeLength)}`;
  return definitionList([
    ['Server', untrustedText(server, wholeLength)],
    ['Folder', untrustedText(folder, wholeLength)],
    ['Messages', startMs === null ? 'all' : markup`from ${timestampUtc(startMs)} on`],
    ['Then', markup`<b>${action}</b>${move}: ${effect}`],
  ]);
}

function form(frame: Frame, { state, name, digest }: MailboxSettingsView): Markup {
  if (state === 'off') return markup`<p class="soft">Encryption is off: every post-action acts as it is set.</p>`;
  if (state === 'confirmed') return markup`<p class="soft">Nothing needs to be done.</p>`;
  const button = markup`<p>If any of this is not yours, change it first: <code>ticketmaild mailbox set</code></p><button type="submit">Confirm These Settings</button>`;
  return postForm(frame, 'mailbox/confirm', button, { name, digest });
}
