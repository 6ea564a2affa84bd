/**
 * Signing in and out.
 *
 * A browser that opens the sign-in page gets a random cookie, and the form carries the hash of it: nobody is signed in to an
 * account that is not theirs by a form from elsewhere. Signing in gives a token that was not there before and drops that
 * cookie, so that what somebody planted is worth nothing. What was wrong is shown at once, without a detour that needs memory.
 */
import type { SignInResult } from '../../../admin/service.ts';
import { isSameToken, newToken, signInCsrf } from '../http/form.ts';
import { signInPage } from '../pages/sign-in.ts';
import {
  type Answer,
  goTo,
  page,
  paths,
  type Refused,
  type RouteParts,
  type Routes,
  type Sent,
  type SignedIn,
  type Visit,
} from './responses.ts';

export function signInRoutes(parts: RouteParts): Routes {
  return new Map([
    [
      paths.signIn,
      {
        about: 'sign-in',
        access: 'anybody',
        show: (visit: Visit) => show(visit, parts),
        change: (visit: Visit, sent: Sent) => signIn(visit, sent, parts),
      },
    ],
    ['/admin/sign-out', { about: 'sign-out', access: 'signed_in', change: (visit: SignedIn) => signOut(visit, parts) }],
  ]);
}

async function show(visit: Visit, parts: RouteParts): Promise<Answer> {
  const session = visit.token === null ? null : await parts.desk.session(visit.token, visit.isShown);
  if (session !== null) return goTo(paths.overview);
  return await form(visit, parts, null, visit.token !== null);
}

async function form(
  visit: Visit,
  { desk, assets }: RouteParts,
  error: string | null,
  wasSignedOut = false,
): Promise<Answer> {
  const hasNoAccount = await desk.hasNoAccount();
  const visitor = visit.visitor ?? newToken();
  const frame = { session: null, csrf: signInCsrf(visitor), flash: null, assets, atMs: Date.now() };
  const cookies = visit.visitor === null ? { cookies: { visitor } } : {};
  return { ...page(signInPage(frame, { error, wasSignedOut, hasNoAccount })), ...cookies };
}

async function signIn(visit: Visit, { fields, password }: Sent, parts: RouteParts): Promise<Answer | Refused> {
  const failed = async (code: number, error: string): Promise<Answer> => ({
    ...(await form(visit, parts, error)),
    code,
  });
  if (visit.visitor === null || !isSameToken(fields.get('csrf'), signInCsrf(visit.visitor)))
    return { refused: 'csrf', answer: await failed(403, 'The form was out of date. Please try again.') };
  const name = fields.get('name') ?? '';
  if (name === '' || password === null || password.length === 0)
    return await failed(422, 'Please give a name and a password.');
  const answer = await parts.desk.signIn(name, password, visit.address);
  if (answer.kind !== 'signed_in') {
    const refused = await failed(codes[answer.kind], sentence(answer));
    const retryAfter = answer.kind === 'limited' ? `${answer.retryAfterS}` : '5';
    return answer.kind === 'refused' ? refused : { ...refused, headers: { 'retry-after': retryAfter } };
  }
  if (visit.token !== null) await parts.desk.signOut(visit.token);
  return { ...goTo(paths.overview), cookies: { session: answer.token, visitor: null } };
}

const codes = { refused: 403, limited: 429, busy: 503 } as const;

function sentence(answer: Exclude<SignInResult, { kind: 'signed_in' }>): string {
  if (answer.kind === 'refused') return 'Name or password is wrong.';
  if (answer.kind === 'busy') return 'Too many are signing in at this moment. Please try again in a few seconds.';
  const minutes = Math.max(1, Math.ceil(answer.retryAfterS / 60));
  return `Too many tries. Please try again in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}.`;
}

async function signOut(visit: SignedIn, { desk }: RouteParts): Promise<Answer> {
  await desk.signOut(visit.token);
  return { ...goTo(paths.signIn), cookies: { session: null } };
}
