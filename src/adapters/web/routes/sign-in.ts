/**
 * Signing in and out.
 *
 * A browser that opens the sign-in page gets a random cookie, and the form carries the hash of it: nobody is signed in to an
 * account that is not theirs by a form from elsewhere. Signing in gives a token that was not there before and drops that
 * cookie, so that what somebody planted is worth nothing. What was wrong is shown at once, without a detour that needs memory.
 */
import type { SignInResult } from '../../../admin/service.ts';
import { isSameToken, newToken, type SubmittedForm, signInCsrf } from '../http/form.ts';
import { signInPage } from '../pages/sign-in.ts';
import {
  type PageRequest,
  type PageResponse,
  page,
  paths,
  type RefusedResponse,
  type RouteContext,
  type Routes,
  redirectTo,
  type SignedInRequest,
} from './responses.ts';

export function signInRoutes(parts: RouteContext): Routes {
  return new Map([
    [
      paths.signIn,
      {
        about: 'sign-in',
        access: 'anybody',
        show: (visit: PageRequest) => show(visit, parts),
        change: (visit: PageRequest, sent: SubmittedForm) => signIn(visit, sent, parts),
      },
    ],
    [
      '/admin/sign-out',
      { about: 'sign-out', access: 'signed_in', change: (visit: SignedInRequest) => signOut(visit, parts) },
    ],
  ]);
}

async function show(visit: PageRequest, parts: RouteContext): Promise<PageResponse> {
  const session = visit.token === null ? null : await parts.service.session(visit.token, visit.isShown);
  if (session !== null) return redirectTo(paths.overview);
  return await form(visit, parts, null, visit.token !== null);
}

async function form(
  visit: PageRequest,
  { service: desk, assets }: RouteContext,
  error: string | null,
  wasSignedOut = false,
): Promise<PageResponse> {
  const hasNoAccount = await desk.hasNoAccount();
  const visitor = visit.visitor ?? newToken();
  const frame = { session: null, csrf: signInCsrf(visitor), flash: null, assets, atMs: Date.now() };
  const cookies = visit.visitor === null ? { cookies: { visitor } } : {};
  return { ...page(signInPage(frame, { error, wasSignedOut, hasNoAccount })), ...cookies };
}

async function signIn(
  visit: PageRequest,
  { fields, password }: SubmittedForm,
  parts: RouteContext,
): Promise<PageResponse | RefusedResponse> {
  const failed = async (code: number, error: string): Promise<PageResponse> => ({
    ...(await form(visit, parts, error)),
    code,
  });
  if (visit.visitor === null || !isSameToken(fields.get('csrf'), signInCsrf(visit.visitor)))
    return { refused: 'csrf', answer: await failed(403, 'The form was out of date. Please try again.') };
  const name = fields.get('name') ?? '';
  if (name === '' || password === null || password.length === 0)
    return await failed(422, 'Please give a name and a password.');
  const answer = await parts.service.signIn(name, password, visit.address);
  if (answer.kind !== 'signed_in') {
    const refused = await failed(codes[answer.kind], sentence(answer));
    const retryAfter = answer.kind === 'limited' ? `${answer.retryAfterS}` : '5';
    return answer.kind === 'refused' ? refused : { ...refused, headers: { 'retry-after': retryAfter } };
  }
  if (visit.token !== null) await parts.service.signOut(visit.token);
  return { ...redirectTo(paths.overview), cookies: { session: answer.token, visitor: null } };
}

const codes = { refused: 403, limited: 429, busy: 503 } as const;

function sentence(answer: Exclude<SignInResult, { kind: 'signed_in' }>): string {
  if (answer.kind === 'refused') return 'Name or password is wrong.';
  if (answer.kind === 'busy') return 'Too many are signing in at this moment. Please try again in a few seconds.';
  const minutes = Math.max(1, Math.ceil(answer.retryAfterS / 60));
  return `Too many tries. Please try again in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}.`;
}

async function signOut(visit: SignedInRequest, { service: desk }: RouteContext): Promise<PageResponse> {
  await desk.signOut(visit.token);
  return { ...redirectTo(paths.signIn), cookies: { session: null } };
}
