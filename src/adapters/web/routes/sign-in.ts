/**
 * Sign-in and sign-out, with login CSRF protection: the form carries the hash of a random cookie that the sign-in page
 * set.
 *
 * A form from another site therefore signs no browser in to a foreign account. Signing in issues a fresh token and
 * deletes that cookie, so that a planted cookie is worthless (session fixation). An error is shown in the response,
 * without a redirect.
 */
import type { SignInResult } from '../../../admin/service.ts';
import { isSameToken, newToken, type SubmittedForm, signInCsrf } from '../http/form.ts';
import { command, postForm } from '../pages/components.ts';
import { type Frame, layout, markup, nothing } from '../pages/layout.ts';
import {
  type FormResponse,
  type PageRequest,
  type PageResponse,
  page,
  paths,
  type Route,
  type RouteContext,
  type Routes,
  redirectTo,
  type SignedInRequest,
  signedInForm,
} from './responses.ts';

export function signInRoutes(context: RouteContext): Routes {
  const signInRoute: Route = {
    about: 'sign-in',
    access: 'public',
    show: (request) => show(request, context),
    change: (request, form) => signIn(request, form, context),
  };
  return new Map<string, Route>([
    [paths.signIn, signInRoute],
    ['/admin/sign-out', signedInForm('sign-out', (request) => signOut(request, context))],
  ]);
}

async function show(request: PageRequest, context: RouteContext): Promise<PageResponse> {
  const session = request.token === null ? null : await context.service.session(request.token, request.isShown);
  if (session !== null) return redirectTo(paths.overview);
  return await form(request, context, null, { wasSignedOut: request.token !== null });
}

async function form(
  request: PageRequest,
  { service, assets }: RouteContext,
  error: string | null,
  { wasSignedOut = false, name = '' } = {},
): Promise<PageResponse> {
  const hasNoAccount = await service.hasNoAccount();
  const visitor = request.visitor ?? newToken();
  const frame = { session: null, csrf: signInCsrf(visitor), flash: null, assets, atMs: Date.now() };
  const cookies = request.visitor === null ? { cookies: { visitor } } : {};
  return { ...page(signInPage(frame, { error, wasSignedOut, hasNoAccount, name })), ...cookies };
}

async function signIn(
  request: PageRequest,
  { fields, password }: SubmittedForm,
  context: RouteContext,
): Promise<FormResponse> {
  const name = fields.get('name') ?? '';
  const failed = async (code: number, error: string, shown = name): Promise<PageResponse> => ({
    ...(await form(request, context, error, { name: shown })),
    code,
  });
  if (request.visitor === null || !isSameToken(fields.get('csrf'), signInCsrf(request.visitor)))
    return { refused: 'csrf', response: await failed(403, 'The form was out of date. Please try again.', '') };
  if (name === '' || password === null || password.length === 0)
    return await failed(422, 'Please give a name and a password.');
  const result = await context.service.signIn(name, password, request.address);
  if (result.kind !== 'signed_in') {
    const refused = await failed(codes[result.kind], sentence(result));
    const retryAfter = result.kind === 'limited' ? `${result.retryAfterS}` : '5';
    return result.kind === 'refused' ? refused : { ...refused, headers: { 'retry-after': retryAfter } };
  }
  if (request.token !== null) await context.service.signOut(request.token);
  return { ...redirectTo(paths.overview), cookies: { session: result.token, visitor: null } };
}

const codes = { refused: 403, limited: 429, busy: 503 } as const;

function sentence(result: Exclude<SignInResult, { kind: 'signed_in' }>): string {
  if (result.kind === 'refused') return 'Name or password is wrong.';
  if (result.kind === 'busy') return 'Too many sign-ins at this moment. Please try again in a few seconds.';
  const minutes = Math.max(1, Math.ceil(result.retryAfterS / 60));
  return `Too many attempts. Please try again in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}.`;
}

async function signOut(request: SignedInRequest, { service }: RouteContext): Promise<PageResponse> {
  await service.signOut(request.token);
  return { ...redirectTo(paths.signIn), cookies: { session: null } };
}

// The page; without any account it shows the command that creates one.

export type SignInView = {
  /** Why the attempt before was refused. */
  readonly error: string | null;
  /** The browser sent the cookie of a session that is over; the reason is not given. */
  readonly wasSignedOut: boolean;
  readonly hasNoAccount: boolean;
  /** As it was typed: after a wrong password the same person types that alone again. */
  readonly name: string;
};

export function signInPage(frame: Frame, { error, wasSignedOut, hasNoAccount, name }: SignInView): string {
  const marks = error === null ? nothing : markup` aria-invalid="true" aria-describedby="sign-in-error"`;
  const focus = markup` autofocus`;
  const form = postForm(
    frame,
    'sign-in',
    markup`<label for="name">Name</label><input id="name" name="name" type="text" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="200" value="${name.slice(0, 200)}" required${name === '' ? focus : nothing}${marks}>
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" maxlength="1000" required${name === '' ? nothing : focus}${marks}>
<button type="submit" class="primary">Sign in</button>`,
  );
  const wrong = markup`<p id="sign-in-error" class="error" role="alert">${error}</p>`;
  const first = markup`<div class="box warn"><h2>There is no admin account</h2><p>Create one on the server. The command asks for a password.</p>${command('ticketmaild admin add NAME')}</div>`;
  const ended = markup`<p class="box warn">You were signed out: the session was idle for too long, or the password was changed.</p>`;
  return layout(frame, {
    title: 'Sign in',
    navigation: null,
    width: 'slim',
    main: markup`<section class="card lone"><h1>Sign in</h1>${error === null ? nothing : wrong}${wasSignedOut ? ended : nothing}${hasNoAccount ? first : nothing}${form}</section>`,
  });
}
