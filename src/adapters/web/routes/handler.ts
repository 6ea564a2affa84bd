/**
 * Request handler: authenticates the session, checks the CSRF token, calls the route, and maps failures and timeouts to
 * pages.
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
  readonly responseMs: number;
  readonly assets: string;
};

export type HandledRequest = {
  readonly response: PageResponse;
  /** `who`: the name of the admin who is signed in. */
  readonly refused: { readonly reason: RefusalReason; readonly who: string | null } | null;
};

/** `form`: null for a page. Never rejects. */
export async function respond(
  route: Route,
  request: PageRequest,
  form: SubmittedForm | null,
  context: ResponderContext,
): Promise<HandledRequest> {
  const { promise: late, resolve } = Promise.withResolvers<HandledRequest>();
  const timer = setTimeout(
    () => resolve(accepted(timeoutPage(context.assets, requesterOf(request, form)))),
    context.responseMs,
  );
  try {
    return await Promise.race([late, answer(route, request, form, context)]);
  } finally {
    clearTimeout(timer);
  }
}

async function answer(
  route: Route,
  request: PageRequest,
  form: SubmittedForm | null,
  context: ResponderContext,
): Promise<HandledRequest> {
  let who: string | null = null;
  try {
    if (route.access === 'public') {
      const done = form === null ? await route.show?.(request) : await route.change?.(request, form);
      return responseOf(done, null, context);
    }
    const { token } = request;
    const isUse = form !== null || request.query.get('refresh') !== '1';
    const session = token === null ? null : await context.service.session(token, isUse);
    if (token === null || session === null) return notSignedIn(request.wantsJson, form !== null);
    who = session.name;
    const signedIn: SignedInRequest = { ...request, token, session };
    if (form === null) return responseOf(await route.show?.(signedIn), who, context);
    if (!isSameToken(form.fields.get('csrf'), session.csrf)) return refused('csrf', who, context);
    return responseOf(await route.change?.(signedIn, form), who, context);
  } catch (error) {
    return failed(asFailure(error), { route, who, requester: requesterOf(request, form) }, context);
  } finally {
    form?.password?.wipe();
  }
}

/** A token counts as known without a look-up, since the database may be unavailable. */
function requesterOf({ token }: PageRequest, form: SubmittedForm | null): Requester {
  return { isKnown: token !== null, isForm: form !== null };
}

function accepted(response: PageResponse): HandledRequest {
  return { response, refused: null };
}

function responseOf(
  given: PageResponse | RefusedResponse | undefined,
  who: string | null,
  context: ResponderContext,
): HandledRequest {
  if (given === undefined) return refused('method', who, context);
  if (!('refused' in given)) return accepted(given);
  return { response: given.response, refused: { reason: given.refused, who } };
}

function refused(reason: RefusalReason, who: string | null, { assets }: ResponderContext): HandledRequest {
  return { response: refusalPage(reason, assets, undefined, who !== null), refused: { reason, who } };
}

/** To the sign-in page; 401 for a script, which would take that page for an answer. */
function notSignedIn(wantsJson: boolean, isForm: boolean): HandledRequest {
  const refused = isForm ? ({ reason: 'not_signed_in', who: null } as const) : null;
  const json = { code: 401, json: { error: 'Sign in first.' } };
  return { response: wantsJson ? json : redirectTo(paths.signIn), refused };
}

type FailedRequest = { readonly route: Route; readonly who: string | null; readonly requester: Requester };

function failed(
  failure: Failure,
  { route, who, requester }: FailedRequest,
  { log, assets }: ResponderContext,
): HandledRequest {
  if (failure.domain === 'database') return accepted(databaseUnavailablePage(assets, requester));
  log.error({ page: route.about, who, error: failure }, events.adminRequestFailed);
  return accepted(failurePage(assets, requester));
}
