/**
 * OAuth 2 routes: the form that begins a sign-in at a provider, and the redirect endpoint (RFC 6749 section 3.1.2).
 *
 * The provider's redirect arrives without the session cookie (SameSite=Strict). The redirect endpoint therefore shows a
 * page that sends the query to itself as a form, with the cookie. `state` is the CSRF token of that form: it is of 256
 * random bits, of one use, and bound to the session. The query reaches neither the page, a log, nor a Referer.
 */
import type { SubmittedForm } from '../http/form.ts';
import { callbackPage, connectPage } from '../pages/oauth.ts';
import { nameMax } from './mailbox.ts';
import {
  callbackAddress,
  type FormResponse,
  frameFor,
  type PageRequest,
  type PageResponse,
  page,
  paths,
  type Route,
  type RouteContext,
  type Routes,
  redirectOnRefusal,
  redirectTo,
  redirectWithFlash,
  refusalPage,
  type SignedInRequest,
  signedInForm,
} from './responses.ts';

export function oauthRoutes(context: RouteContext): Routes {
  const callback: Route = {
    about: 'oauth callback',
    access: 'public',
    show: async () => showCallback(context),
    change: (request, form) => finish(request, form, context),
  };
  return new Map<string, Route>([
    [`${paths.mailbox}/connect`, signedInForm('mailbox connect', (request, form) => connect(request, form, context))],
    [paths.callback, callback],
  ]);
}

function mailboxPath(name: string): string {
  return `${paths.mailbox}?${new URLSearchParams({ name })}`;
}

async function connect(
  request: SignedInRequest,
  { fields }: SubmittedForm,
  context: RouteContext,
): Promise<FormResponse> {
  const [name, provider] = [fields.get('name') ?? '', fields.get('provider') ?? ''];
  if (name === '' || name.length > nameMax || !/^[\w-]{1,64}$/.test(provider))
    return { refused: 'bad_request', response: refusalPage('bad_request', context.assets, 422, true) };
  return await redirectOnRefusal(mailboxPath(name), request, context, async () => {
    const from = { redirectUri: callbackAddress(request), token: request.token, by: request.session.name };
    return page(connectPage(frameFor(request, context), await context.service.connectMailbox(name, provider, from)));
  });
}

/** `strict-origin`: the query of this address is in no Referer, and a form still states its Origin (Fetch standard). */
function showCallback({ assets }: RouteContext): PageResponse {
  const frame = { session: null, csrf: '', flash: null, assets, atMs: Date.now() };
  return { ...page(callbackPage(frame)), headers: { 'referrer-policy': 'strict-origin' } };
}

/** Without a script the form is sent to its own address, whose query holds the answer then. */
async function finish(request: PageRequest, { fields }: SubmittedForm, context: RouteContext): Promise<FormResponse> {
  const { token } = request;
  const session = token === null ? null : await context.service.session(token, true);
  if (token === null || session === null) return { refused: 'not_signed_in', response: redirectTo(paths.signIn) };
  const answer = fields.get('answer') || `${request.query}`;
  const { mailbox, isDone, sentence } = await context.service.finishSignIn(answer, { token });
  const to = mailbox === null ? paths.overview : mailboxPath(mailbox);
  const signedIn = { ...request, token, session };
  const response = redirectWithFlash(to, signedIn, context, { tone: isDone ? 'good' : 'bad', text: sentence });
  return isDone ? response : { refused: 'not_possible_now', response };
}
