/**
 * OAuth 2 pages: how a mailbox signs in, the link to the provider, and the page that its redirect ends at.
 *
 * The link is a link and no redirect of a form: `form-action 'self'` of the content security policy forbids that.
 */
import type { MailboxSignIn, ProviderSignIn } from '../../../admin/service.ts';
import {
  badge,
  card,
  code,
  command,
  definitionList,
  inlineCommand,
  postForm,
  type Tone,
  timestampUtc,
  untrustedText,
} from './components.ts';
import { type Frame, layout, type Markup, markup, nothing } from './layout.ts';

type OAuthSignInView = Extract<MailboxSignIn, { kind: 'oauth' }>;

const states: Readonly<Record<OAuthSignInView['state'], readonly [Tone, string]>> = {
  ready: ['good', 'Connected'],
  unused: ['idle', 'No token yet'],
  needs_consent: ['bad', 'Sign-in needed'],
  no_grant: ['bad', 'Sign-in needed'],
  refused: ['bad', 'Application refused'],
  no_provider: ['bad', 'Provider not configured'],
};

/** `redirectUri`: the address that the registration of the application has to list. */
export function signInCard(frame: Frame, mailbox: string, view: MailboxSignIn, redirectUri: string): Markup {
  if (view.kind === 'password')
    return card(
      'plain',
      'Sign-in',
      definitionList([
        ['Method', 'password'],
        ['User', untrustedText(view.user)],
      ]),
    );
  const [tone, text] = states[view.state];
  const { user, provider, account, sinceMs, flow } = view;
  const facts = definitionList([
    [
      'Method',
      markup`OAuth 2${provider === null ? '' : ', '}${provider === null ? nothing : untrustedText(provider, 64)}`,
    ],
    ['User', untrustedText(user)],
    account === null ? null : ['Signed in as', untrustedText(account)],
    flow === null || flow === 'person' ? null : ['Signs in', 'as an application: no person is needed'],
    sinceMs === null ? null : ['Since', timestampUtc(sinceMs)],
  ]);
  const content = markup`${facts}${reason(view)}${connectForms(frame, mailbox, view, redirectUri)}`;
  return card(tone === 'bad' ? 'bad' : 'plain', 'Sign-in', content, markup` ${badge(tone, text)}`);
}

function reason({ state, errorCode, cutOffAtMs }: OAuthSignInView): Markup {
  const said = errorCode === null ? nothing : markup` (${code(errorCode.slice(0, 64))})`;
  const cut =
    cutOffAtMs === null
      ? nothing
      : markup` A renewal was cut off at ${timestampUtc(cutOffAtMs)}: its answer was lost, and the provider ended the grant.`;
  switch (state) {
    case 'ready':
    case 'unused':
      return nothing;
    case 'no_grant':
      return markup`<p>No person has signed in for this mailbox yet. No login is tried; no mail is lost.</p>`;
    case 'needs_consent':
      return markup`<p>The provider ended the consent${said}. No login is tried until a person signs in again; mail stays on the server.${cut}</p>`;
    case 'refused':
      return markup`<p>The provider refuses the application itself${said}: its registration or its secret. A sign-in does not help; see ${inlineCommand('ticketmaild oauth test')}</p>`;
    case 'no_provider':
      return markup`<p>The configuration has no such provider. Add its table <code>[oauth.NAME]</code>, and reload.</p>`;
  }
}

function connectForms(frame: Frame, mailbox: string, view: OAuthSignInView, redirectUri: string): Markup {
  const { connect, state, command: line } = view;
  if (connect.length === 0) return nothing;
  const isNeeded = state === 'needs_consent' || state === 'no_grant';
  const forms = connect.map(({ provider, label }) => {
    const text = `${state === 'ready' ? 'Connect again with' : 'Connect with'} ${label}`;
    const button = markup`<button type="submit"${isNeeded ? markup` class="primary"` : nothing}>${text}</button>`;
    return postForm(frame, 'mailbox/connect', button, { name: mailbox, provider });
  });
  return markup`<div class="connect">${forms}</div>
<details class="fold" id="redirect-address"${isNeeded ? markup` open` : nothing}><summary>Redirect address for the registration at the provider</summary><div><p>The application has to list exactly this address:</p>${command(redirectUri)}<p class="hint">It is that of this page as your browser shows it. Without a browser, on the host:</p>${command(line)}</div></details>`;
}

/** The link to the provider. */
export function connectPage(frame: Frame, { mailbox, label, user, url }: ProviderSignIn): string {
  const title = `Connect with ${label}`;
  const back = `/admin/mailbox?${new URLSearchParams({ name: mailbox })}`;
  const main = markup`<section class="card lone"><h1>${title}</h1><p>For the mailbox <b>${untrustedText(mailbox, 80)}</b>. At ${label}, sign in as <b>${untrustedText(user)}</b>, or as a person who may read that mailbox.</p>
<p><a class="button primary" rel="noreferrer" href="${url}">Continue to ${label}</a></p>
<p class="hint">You come back to this page afterwards. The link is good for 10 minutes, and for one use. ticketmaild never sees the password that you enter there.</p><p><a href="${back}">Back to the mailbox</a></p></section>`;
  return layout(frame, { title, navigation: 'overview', width: 'slim', main });
}

/** The script moves the query into the form, removes it from the history, and sends it. */
export function callbackPage(frame: Frame): string {
  const title = 'Finish the sign-in';
  const main = markup`<section class="card lone"><h1>${title}</h1><p>The provider has answered. One step is left: storing the sign-in.</p><form method="post" action="" data-callback><input type="hidden" name="answer" value=""><button type="submit" class="primary">Finish the sign-in</button></form><p class="hint">If you did not begin a sign-in, close this page: nothing is stored.</p></section>`;
  return layout(frame, { title, navigation: null, width: 'slim', main });
}
