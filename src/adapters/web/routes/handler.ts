/**
 * From a request to what is answered: who is it, may they, what came of it, and what if it fails or hangs.
 */
import type { AdminService, RefusalReason } from '../../../admin/service.ts';
import { asFailure, type Failure } from '../../../errors.ts';
import { events, type Log } from '../../../events.ts';
import { isSameToken, type SubmittedForm } from '../http/form.ts';
import {
  databaseUnavailablePage,
  failurePage,
  type PageRequest,
  type PageResponse,
  paths,
  type RefusedResponse,
  type Requester,
  type Route,
  redirectTo,
  refusalPage,
  type SignedInRequest,
  timeoutPage,
} from './responses.ts';

export type ResponderContext = {
  readonly service: Pick<AdminService, 'session'>;
  readonly log: Log;
  readonly answerMs: number;
  readonly assets: string;
};

export type HandledRequest = {
  readonly response: PageResponse;
  /** `who`: the name of who is signed in. */
  readonly refused: { readonly reason: RefusalReason; readonly who: string | null } | null;
};

/** `sent`: the form, when one was sent. Never rejects. */
export async function respond(
  route: Route,
  visit: PageRequest,
  sent: SubmittedForm | null,
  parts: ResponderContext,
): Promise<HandledRequest> {
  const { promise: late, resolve } = Promise.withResolvers<HandledRequest>();
  const timer = setTimeout(() => resolve(accepted(timeoutPage(parts.assets, askedBy(visit, sent)))), parts.answerMs);
  try {
    return await Promise.race([late, answer(route, visit, sent, parts)]);
  } finally {
    clearTimeout(timer);
  }
}

async function answer(
  route: Route,
  visit: PageRequest,
  sent: SubmittedForm | null,
  parts: ResponderContext,
): Promise<HandledRequest> {
  let who: string | null = null;
  try {
    if (route.access === 'anybody') {
      const done = sent === null ? await route.show?.(visit) : await route.change?.(visit, sent);
      return responseOf(done, null, parts);
    }
    const { token } = visit;
    const isUse = sent !== null || visit.query.get('refresh') !== '1';
    const session = token === null ? null : await parts.service.session(token, isUse);
    if (token === null || session === null) return notSignedIn(visit.wantsJson, sent !== null);
    who = session.name;
    const signedIn: SignedInRequest = { ...visit, token, session };
    if (sent === null) return responseOf(await route.show?.(signedIn), who, parts);
    if (!isSameToken(sent.fields.get('csrf'), session.csrf)) return turned('csrf', who, parts);
    return responseOf(await route.change?.(signedIn, sent), who, parts);
  } catch (error) {
    return failed(asFailure(error), { route, who, asked: askedBy(visit, sent) }, parts);
  } finally {
    sent?.password?.wipe();
  }
}

/** Whether the token is of a sign-in that holds, the database may be unable to say. */
function askedBy({ token }: PageRequest, sent: SubmittedForm | null): Requester {
  return { isKnown: token !== null, isForm: sent !== null };
}

function accepted(given: PageResponse): HandledRequest {
  return { response: given, refused: null };
}

function responseOf(
  given: PageResponse | RefusedResponse | undefined,
  who: string | null,
  parts: ResponderContext,
): HandledRequest {
  if (given === undefined) return turned('method', who, parts);
  if (!('refused' in given)) return accepted(given);
  return { response: given.answer, refused: { reason: given.refused, who } };
}

function turned(reason: RefusalReason, who: string | null, { assets }: ResponderContext): HandledRequest {
  return { response: refusalPage(reason, assets, undefined, who !== null), refused: { reason, who } };
}

/** To the sign-in page, which tells a stranger nothing. A script is told so, since it would read that page as an answer. */
function notSignedIn(wantsJson: boolean, isForm: boolean): HandledRequest {
  const refused = isForm ? ({ reason: 'not_signed_in', who: null } as const) : null;
  const json = { code: 401, json: { error: 'Sign in first.' } };
  return { response: wantsJson ? json : redirectTo(paths.signIn), refused };
}

type Failing = { readonly route: Route; readonly who: string | null; readonly asked: Requester };

function failed(failure: Failure, { route, who, asked }: Failing, { log, assets }: ResponderContext): HandledRequest {
  if (failure.domain === 'database') return accepted(databaseUnavailablePage(assets, asked));
  log.error({ page: route.about, who, error: failure }, events.adminRequestFailed);
  return accepted(failurePage(assets, asked));
}
