/**
 * Forms of a mailbox: add, settings, new password, remove. Each shows the values that were sent, but never a password.
 *
 * A form of a stored mailbox names the row that it shows (optimistic concurrency).
 */
import type { MailboxTexts } from '../../../admin/mailboxes/form.ts';
import { passwordSignIn } from '../../../admin/mailboxes/form.ts';
import type { MailboxSettingsView, ProbeView, ProviderChoice } from '../../../admin/service.ts';
import { postForm, untrustedText } from './components.ts';
import { type Frame, layout, type Markup, markup, nothing } from './layout.ts';
import { mailboxAddress } from './mailbox-list.ts';
import { probeCard } from './probe.ts';

/** What a form is shown again with. `error`: why nothing was changed; `probe`: the one that failed. */
export type RefusedForm = {
  readonly texts: MailboxTexts;
  readonly error: string | null;
  readonly probe: ProbeView | null;
  readonly isProbed: boolean;
};

type Form = RefusedForm & {
  readonly providers: readonly ProviderChoice[];
  /** null: a new mailbox. */
  readonly stored: MailboxSettingsView | null;
};

export function addMailboxPage(frame: Frame, form: Omit<Form, 'stored'>): string {
  const shown = { ...form, stored: null };
  const button = markup`<div class="buttons"><button type="submit" class="primary">Test and add</button><a class="button" href="/admin/mailboxes">Cancel</a></div>`;
  const main = markup`<div class="head"><h1>Add a mailbox</h1></div>
${trouble(form)}
<section class="card plain">${postForm(frame, 'mailbox/add', markup`${fields(shown)}${button}`)}</section>`;
  return layout(frame, { title: 'Add a mailbox', navigation: 'mailboxes', width: 'narrow', main });
}

export function mailboxSettingsPage(frame: Frame, stored: MailboxSettingsView, refused: RefusedForm | null): string {
  const form = refused ?? { texts: stored.texts, error: null, probe: null, isProbed: true };
  const shown = { ...form, providers: stored.providers, stored };
  const button = markup`<div class="buttons"><button type="submit" class="primary">Save</button><a class="button" href="${mailboxAddress(stored.name)}">Cancel</a></div>`;
  const hidden = { mailbox: stored.name, version: stored.version };
  const main = markup`<div class="head"><h1>Settings of ${untrustedText(stored.name, 80)}</h1></div>
${trouble(form)}
<section class="card plain">${postForm(frame, 'mailbox/set', markup`${fields(shown)}${button}`, hidden)}</section>`;
  return layout(frame, { title: 'Settings of a mailbox', navigation: 'mailboxes', width: 'narrow', main });
}

function trouble({ error, probe }: RefusedForm): Markup {
  const said = error === null ? nothing : markup`<p class="error" role="alert">${untrustedText(error, 900)}</p>`;
  return probe === null ? said : markup`${said}${probeCard(probe, 'Nothing was changed: the test failed')}`;
}

function fields(form: Form): Markup {
  return markup`${mailboxGroup(form)}${serverGroup(form)}${signInGroup(form)}${messageGroup(form)}${proofGroup(form)}`;
}

function group(name: string, content: Markup): Markup {
  return markup`<fieldset class="fields"><legend>${name}</legend>${content}</fieldset>`;
}

type Input = {
  readonly name: keyof MailboxTexts;
  readonly label: string;
  readonly hint?: string;
  readonly isRequired?: true;
  readonly max?: number;
  readonly mode?: 'numeric' | 'email';
};

function input({ texts }: Form, { name, label, hint, isRequired, max = 255, mode }: Input): Markup {
  const note = hint === undefined ? nothing : markup`<p class="hint" id="${name}-hint">${hint}</p>`;
  const described = hint === undefined ? nothing : markup` aria-describedby="${name}-hint"`;
  const required = isRequired === true ? markup` required` : nothing;
  const keyboard = mode === undefined ? nothing : markup` inputmode="${mode}"`;
  return markup`<div><label for="${name}">${label}</label><input id="${name}" name="${name}" type="text" value="${texts[name]}" maxlength="${max}" autocomplete="off" autocapitalize="none" spellcheck="false" dir="auto"${required}${keyboard}${described}>${note}</div>`;
}

function select(
  { texts }: Form,
  name: keyof MailboxTexts,
  label: string,
  options: readonly (readonly [value: string, text: string])[],
): Markup {
  const items = options.map(
    ([value, text]) =>
      markup`<option value="${value}"${texts[name] === value ? markup` selected` : nothing}>${text}</option>`,
  );
  return markup`<div><label for="${name}">${label}</label><select id="${name}" name="${name}">${items}</select></div>`;
}

function mailboxGroup(form: Form): Markup {
  return group(
    'Mailbox',
    markup`${input(form, { name: 'name', label: 'Name', isRequired: true, max: 63 })}${input(form, {
      name: 'addresses',
      label: 'Its addresses',
      hint: 'Separated by blanks, for loop protection. Empty: the user, if it is an address.',
      max: 4000,
    })}`,
  );
}

function serverGroup(form: Form): Markup {
  const { texts, probe, stored } = form;
  const shown = probe?.certificate?.fingerprint ?? null;
  const isOffered = shown !== null && probe?.failure !== null;
  const own = stored?.texts.trust === 'stored' ? ([['stored', 'The authorities that are stored']] as const) : [];
  const trust = select(form, 'trust', 'Certificate', [
    ['system', 'Signed by an authority of the system'],
    ...own,
    ['pin', 'This certificate alone (fingerprint)'],
    ['authorities', 'Signed by one of these authorities'],
  ]);
  const pin = markup`<div class="wide"><label for="fingerprint">Fingerprint (SHA-256)</label><input id="fingerprint" name="fingerprint" type="text" class="mono" value="${isOffered ? shown : texts.fingerprint}" maxlength="128" autocomplete="off" spellcheck="false"></div>`;
  const accept = isOffered
    ? markup`<label class="box-line wide"><input type="checkbox" name="accept_certificate" value="yes"><span>The certificate above is that of my mail server: the operator confirmed its fingerprint. <strong>Trust it alone (pin).</strong></span></label>`
    : nothing;
  const authorities = markup`<div class="wide"><label for="authorities">Certificates of authorities (PEM)</label><textarea id="authorities" name="authorities" rows="3" class="mono" maxlength="12000" spellcheck="false">${texts.authorities}</textarea></div>`;
  const details = markup`<details class="fold wide" id="trust-more"${texts.trust === 'system' && !isOffered ? nothing : markup` open`}><summary>Private authority, pinned certificate, no encryption</summary><div class="fields">${trust}${pin}${authorities}
<label class="box-line wide"><input type="checkbox" name="allow_plaintext" value="yes"${texts.allow_plaintext === 'yes' ? markup` checked` : nothing}><span>Without encryption, the password may cross the network readable.</span></label></div></details>`;
  return group(
    'Mail server',
    markup`${input(form, { name: 'host', label: 'Server', isRequired: true, max: 253 })}${input(form, { name: 'port', label: 'Port', hint: 'Empty: 993, or 143 with STARTTLS and without encryption.', max: 5, mode: 'numeric' })}${select(
      form,
      'tls',
      'Encryption',
      [
        ['implicit', 'TLS from the first byte'],
        ['starttls', 'STARTTLS'],
        ['none', 'None'],
      ],
    )}${input(form, { name: 'folder', label: 'Folder', isRequired: true, max: 1000 })}${accept}${details}`,
  );
}

function signInGroup(form: Form): Markup {
  const { providers, stored } = form;
  const hint =
    stored === null
      ? 'It is sent to the mail server alone.'
      : 'Needed for another server, port, encryption, certificate or user: the stored one is never sent elsewhere. Otherwise leave it empty.';
  const known = [passwordSignIn, ...providers.map(({ name }) => name)];
  const present = form.texts.sign_in;
  const asNow = known.includes(present) ? [] : ([[present, 'OAuth 2, as now']] as const);
  const ways =
    providers.length + asNow.length === 0
      ? markup`<input type="hidden" name="sign_in" value="${passwordSignIn}">`
      : select(form, 'sign_in', 'Signs in with', [
          ...asNow,
          [passwordSignIn, 'a password'],
          ...providers.map(
            ({ name, label }) => [name, `OAuth 2: ${label}${label === name ? '' : ` (${name})`}`] as const,
          ),
        ]);
  const grant =
    providers.length === 0
      ? nothing
      : input(form, { name: 'grant', label: 'Grant (OAuth 2)', hint: 'Empty: a new one, named as the mailbox.' });
  return group(
    'Sign-in',
    markup`${input(form, { name: 'user', label: 'User', isRequired: true, max: 1000 })}${secret('password', 'Password of the mailbox', hint)}${ways}${grant}${serverDoubt(stored)}`,
  );
}

/** A browser must not fill in the password of the sign-in. */
function secret(name: string, label: string, hint: string): Markup {
  return markup`<div><label for="${name}">${label}</label><input id="${name}" name="${name}" type="password" autocomplete="new-password" maxlength="1024" aria-describedby="${name}-hint"><p class="hint" id="${name}-hint">${hint}</p></div>`;
}

function serverDoubt(stored: MailboxSettingsView | null): Markup {
  if (stored === null || stored.doubt === null) return nothing;
  return markup`<div class="box wide"><p>${untrustedText(stored.doubt, 600)}</p><p>A new password would be sent to <b>${untrustedText(stored.server, 1000)}</b></p><label class="box-line"><input type="checkbox" name="accept_server" value="yes"><span>This is my mail server.</span></label></div>`;
}

function messageGroup(form: Form): Markup {
  const { stored } = form;
  const since =
    stored === null
      ? 'now, all, or a date such as 2026-01-31'
      : 'For another server, user or folder alone: now, all, or a date. Otherwise leave it empty.';
  const actions = select(form, 'action', 'Afterwards, on the server', [
    ['seen', 'mark as read'],
    ['move', 'move to a folder'],
    ['delete', 'delete'],
    ['leave', 'leave as it is'],
  ]);
  return group(
    'Messages',
    markup`${input(form, { name: 'since', label: 'Fetch messages from', hint: since, max: 40 })}${input(form, { name: 'interval', label: 'Seconds between two polls', hint: 'Empty: as configured. IDLE announces new messages meanwhile.', max: 5, mode: 'numeric' })}${actions}${input(form, { name: 'target', label: 'Folder to move to', max: 1000 })}`,
  );
}

function proofGroup({ isProbed }: Form): Markup {
  const probe = markup`<label class="box-line wide"><input type="checkbox" name="probe" value="yes"${isProbed ? markup` checked` : nothing}><span>Test the connection first: a failed test changes nothing.</span></label>`;
  const own = secret('own_password', 'Your own password', 'Needed to delete messages on the server.');
  return group('Before it is stored', markup`${probe}${own}`);
}

/** The form of a new password, on the page of the mailbox. */
export function passwordForm(frame: Frame, view: MailboxSettingsView): Markup {
  if (view.signIn.kind !== 'password') return nothing;
  const content = markup`<div class="fields">${secret('password', 'New password', `It is tested, and sent to ${view.server}.`)}${serverDoubt(view)}
<label class="box-line wide"><input type="checkbox" name="probe" value="yes" checked><span>Test it first.</span></label></div><div class="buttons"><button type="submit" class="primary">Set the password</button></div>`;
  return postForm(frame, 'mailbox/password', content, rowFields(view));
}

/** A removal is confirmed by typing the name, and by the password of the admin. */
export function removeForm(frame: Frame, view: MailboxSettingsView): Markup {
  const content = markup`<p>Its settings, password and position in the folder are removed. Tickets and messages stay; nothing is changed on the mail server.</p><div class="fields"><div><label for="typed_name">Type its name: <b>${untrustedText(view.name, 255)}</b></label><input id="typed_name" name="typed_name" type="text" maxlength="255" autocomplete="off" autocapitalize="none" spellcheck="false" dir="auto" required></div>${secret('own_password', 'Your own password', 'That of this page.')}</div><div class="buttons"><button type="submit" class="danger">Remove it</button></div>`;
  return postForm(frame, 'mailbox/remove', content, rowFields(view));
}

/** Names the row that a form shows. */
export function rowFields({ name, version }: Pick<MailboxSettingsView, 'name' | 'version'>) {
  return { mailbox: name, version };
}
