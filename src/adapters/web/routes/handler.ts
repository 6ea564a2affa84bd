/**
 * From a request to what is answered: who is it, may they, what came of it, and what if it fails or hangs.
 */
import type { AdminService, RefusalReason } from '../../../admin/service.ts';
import { asFailure, type Failure } from '../../../errors.ts';
import { events, type Log } from '../../../events.ts';
import { isSameToken } from '../http/form.ts';
import {
  type Answer,
  type Asked,
  databaseAnswer,
  failedAnswer,
  goTo,
  lateAnswer,
  paths,
  type Refused,
  type Route,
  refusalAnswer,
  type Sent,
  type SignedIn,
  type Visit,
} from './responses.ts';

export type RespondParts = {
  readonly desk: Pick<AdminService, 'session'>;
  readonly log: Log;
  readonly answerMs: number;
  readonly assets: string;
};

export type Response = {
  readonly answer: Answer;
  /** `who`: the name of who is signed in. */
  readonly refused: { readonly reason: RefusalReason; readonly who: string | null } | null;
};

/** `sent`: the form, when one was sent. Never rejects. */
export async function respond(route: Route, visit: Visit, sent: Sent | null, parts: RespondParts): Promise<Response> {
  const { promise: late, resolve } = Promise.withResolvers<Response>();
  const timer = setTimeout(() => resolve(accepted(lateAnswer(parts.assets, askedBy(visit, sent)))), parts.answerMs);
  try {
    return await Promise.race([late, answer(route, visit, sent, parts)]);
  } finally {
    clearTimeout(timer);
  }
}

async function answer(route: Route, visit: Visit, sent: Sent | null, parts: RespondParts): Promise<Response> {
  let who: string | null = null;
  try {
    if (route.access === 'anybody') {
      const done = sent === null ? await route.show?.(visit) : await route.change?.(visit, sent);
      return responseOf(done, null, parts);
    }
    const { token } = visit;
    const isUse = sent !== null || visit.query.get('refresh') !== '1';
    const session = token === null ? null : await parts.desk.session(token, isUse);
    if (token === null || session === null) return notSignedIn(visit.wantsJson, sent !== null);
    who = session.name;
    const signedIn: SignedIn = { ...visit, token, session };
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
function askedBy({ token }: Visit, sent: Sent | null): Asked {
  return { isKnown: token !== null, isForm: sent !== null };
}

function accepted(given: Answer): Response {
  return { answer: given, refused: null };
}

function responseOf(given: Answer | Refused | undefined, who: string | null, parts: RespondParts): Response {
  if (given === undefined) return turned('method', who, parts);
  if (!('refused' in given)) return accepted(given);
  return { answer: given.answer, refused: { reason: given.refused, who } };
}

function turned(reason: RefusalReason, who: string | null, { assets }: RespondParts): Response {
  return { answer: refusalAnswer(reason, assets, undefined, who !== null), refused: { reason, who } };
}

/** To the sign-in page, which tells a stranger nothing. A script is told so, since it would read that page as an answer. */
function notSignedIn(wantsJson: boolean, isForm: boolean): Response {
  const refused = isForm ? ({ reason: 'not_signed_in', who: null } as const) : null;
  const json = { code: 401, json: { error: 'Sign in first.' } };
  return { answer: wantsJson ? json : goTo(paths.signIn), refused };
}

type Failing = { readonly route: Route; readonly who: string | null; readonly asked: Asked };

function failed(failure: Failure, { route, who, asked }: Failing, { log, assets }: RespondParts): Response {
  if (failure.domain === 'database') return accepted(databaseAnswer(assets, asked));
  log.error({ page: route.about, who, error: failure }, events.adminRequestFailed);
  return accepted(failedAnswer(assets, asked));
}
