/** Sign-in page; without any account it shows the command that creates one. */

import { command, postForm } from './components.ts';
import type { Frame } from './layout.ts';
import { layout, markup, nothing } from './layout.ts';

export type SignInView = {
  /** Why the attempt before was refused. */
  readonly error: string | null;
  /** The browser sent the cookie of a session that is over; the reason is not given. */
  readonly wasSignedOut: boolean;
  readonly hasNoAccount: boolean;
};

export function signInPage(frame: Frame, { error, wasSignedOut, hasNoAccount }: SignInView): string {
  const marks = error === null ? nothing : markup` aria-invalid="true" aria-describedby="sign-in-error"`;
  const form = postForm(
    frame,
    'sign-in',
    markup`<label for="name">Name</label><input id="name" name="name" type="text" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="200" required autofocus${marks}>
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" maxlength="1000" required${marks}>
<button type="submit" class="primary">Sign In</button>`,
  );
  const wrong = markup`<p id="sign-in-error" class="error" role="alert">${error}</p>`;
  const first = markup`<div class="box warn"><h2>There is no admin account</h2><p>Create one on the server. The command asks for a password.</p>${command('ticketmaild admin add NAME')}</div>`;
  const ended = markup`<p class="box warn">You were signed out: the session was idle for too long, or the password was changed.</p>`;
  return layout(frame, {
    title: 'Sign in',
    navigation: null,
    width: 'slim',
    main: markup`<section class="card lone"><h1>Sign In</h1>${error === null ? nothing : wrong}${wasSignedOut ? ended : nothing}${hasNoAccount ? first : nothing}${form}</section>`,
  });
}
