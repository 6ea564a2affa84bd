/**
 * What a request of the admin page is, and what comes of it, as values: the routes know neither fastify nor sockets.
 */

import { createHash } from 'node:crypto';
import type { AdminService, AdminSession, RefusalReason } from '../../../admin/service.ts';
import { isFailure } from '../../../errors.ts';
import type { SubmittedForm } from '../http/form.ts';
import { type Flash, type Frame, messagePage } from '../pages/layout.ts';

/** A request for a page, or of a form of ours. */
export type PageRequest = {
  /** The client's address. */
  readonly address: string;
  readonly query: URLSearchParams;
  /** Of the two cookies; null: none, or nothing that we gave out. */
  readonly token: string | null;
  readonly visitor: string | null;
  /** False for HEAD and for a page that refreshes itself: they use nothing up. */
  readonly isShown: boolean;
  /** The script asks, and wants JSON. */
  readonly wantsJson: boolean;
};

export type SignedInRequest = PageRequest & { readonly token: string; readonly session: AdminSession };

export type PageResponse = {
  readonly code: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** What the cookies become; absent: they stay. */
  readonly cookies?: { readonly session?: string | null; readonly visitor?: string | null };
} & ({ readonly html: string } | { readonly json: object } | { readonly to: string });

/** A request that is turned away, with what its sender is shown. */
export type RefusedResponse = { readonly refused: RefusalReason; readonly answer: PageResponse };

/** A page, or a form that changes something. `about`: what the audit calls it. */
export type Route =
  | {
      readonly about: string;
      readonly access: 'anybody';
      readonly show?: (visit: PageRequest) => Promise<PageResponse>;
      readonly change?: (visit: PageRequest, sent: SubmittedForm) => Promise<PageResponse | RefusedResponse>;
    }
  | {
      readonly about: string;
      readonly access: 'signed_in';
      readonly show?: (visit: SignedInRequest) => Promise<PageResponse>;
      /** The token of the form was right. */
      readonly change?: (visit: SignedInRequest, sent: SubmittedForm) => Promise<PageResponse | RefusedResponse>;
    };

export type Routes = ReadonlyMap<string, Route>;

/** What the routes are made of. */
export type RouteContext = {
  readonly service: AdminService;
  readonly flashes: Flashes;
  /** The version of the assets. */
  readonly assets: string;
};

export const paths = {
  signIn: '/admin/sign-in',
  overview: '/admin/overview',
  quarantine: '/admin/quarantine',
  encryption: '/admin/server/encryption',
} as const;

export function page(html: string, code = 200): PageResponse {
  return { code, html };
}

/** To a page, by GET (RFC 9110 section 15.4.4). */
export function redirectTo(to: string): PageResponse {
  return { code: 303, to };
}

/** What is around a page for who is signed in. A flash is shown once. */
export function frameFor(visit: SignedInRequest, { flashes, assets }: RouteContext): Frame {
  const flash = visit.isShown ? flashes.take(visit.token) : null;
  return { session: visit.session, csrf: visit.session.csrf, flash, assets, atMs: Date.now() };
}

/** To `to`, where the next page says what came of it. */
export function redirectWithFlash(
  to: string,
  visit: SignedInRequest,
  { flashes }: RouteContext,
  flash: Flash,
): PageResponse {
  flashes.put(visit.token, flash);
  return redirectTo(to);
}

/**
 * What `work` answers; or, where a rule refused it, `to` again with the reason in a sentence. What is wrong with the database,
 * and what nobody expected, is thrown on.
 */
export async function redirectOnRefusal(
  to: string,
  visit: SignedInRequest,
  parts: RouteContext,
  work: () => Promise<PageResponse | RefusedResponse>,
): Promise<PageResponse | RefusedResponse> {
  try {
    return await work();
  } catch (error) {
    if (!isFailure(error) || error.code === 'unexpected' || error.domain === 'database') throw error;
    const text = `Nothing came of it: ${error.message}. ${error.hint}`;
    const refused = error.code === 'operation_running' ? 'operation_running' : 'not_possible_now';
    return { refused, answer: redirectWithFlash(to, visit, parts, { tone: 'bad', text }) };
  }
}

/** Pages count from 1; what is none is the first. */
export function pageNumber(text: string | null | undefined): number {
  return text !== null && text !== undefined && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : 1;
}

/** Pages that say one thing: a request that was turned away, or something that failed. Nothing of the request is in them. */

type Message = { readonly code: number; readonly title: string; readonly text: string; readonly hint: string | null };

const bad = {
  code: 400,
  title: 'Bad request',
  text: 'What was sent is no request that a page here makes.',
  hint: null,
};
const out = 'Nothing was changed. Open the page again, and try once more from there.';
const seen = 'The page shows how things are now.';

const refusals: Readonly<Record<RefusalReason, Message>> = {
  bad_request: bad,
  not_signed_in: { code: 403, title: 'Not signed in', text: 'Nothing was changed. Sign in first.', hint: null },
  csrf: { code: 403, title: 'The form is out of date', text: out, hint: null },
  foreign_origin: {
    code: 403,
    title: 'Not from this page',
    text: 'The form came from somewhere else. Nothing was changed.',
    hint: 'Behind a proxy, [admin] origin must be the address that stands in the browser.',
  },
  foreign_host: {
    code: 421,
    title: 'Not served under this name',
    text: 'The admin page is not served under the name that was asked for.',
    hint: 'It answers to the name of its address, or to [admin] origin.',
  },
  method: { code: 405, title: 'Not that way', text: 'This address does not answer to such a request.', hint: null },
  not_found: { code: 404, title: 'Not found', text: 'There is no such page.', hint: null },
  too_large: { code: 413, title: 'Too large', text: 'The form is larger than any of ours.', hint: null },
  not_acknowledged: { code: 422, title: 'Both boxes are needed', text: out, hint: null },
  proof_refused: { code: 409, title: 'The proof file is not right', text: seen, hint: null },
  operation_running: { code: 409, title: 'Another operation runs', text: seen, hint: null },
  not_possible_now: { code: 409, title: 'Not possible now', text: seen, hint: null },
};

/** What is known of who asks. `isKnown`: signed in, or was; `isForm`: the same address does not show a page. */
export type Requester = { readonly isKnown: boolean; readonly isForm: boolean };

const stranger: Requester = { isKnown: false, isForm: true };

/** `code`: another one than the reason has. */
export function refusalPage(reason: RefusalReason, assets: string, code?: number, isKnown = false): PageResponse {
  const message = { ...refusals[reason], ...(code === undefined ? {} : { code }) };
  return answerOf(message, assets, { isKnown: isKnown && reason !== 'not_signed_in', isForm: true });
}

export function databaseUnavailablePage(assets: string, asked: Requester = stranger): PageResponse {
  const text = 'The database does not answer, so nothing can be shown or changed. Mail stays on its servers meanwhile.';
  const hint = 'On the host of the daemon, ticketmaild status says more.';
  return answerOf({ code: 503, title: 'The database is away', text, hint }, assets, asked);
}

export function timeoutPage(assets: string, asked: Requester = stranger): PageResponse {
  const text = 'It took too long. Whether something was changed, the page shows when it is opened again.';
  return answerOf({ code: 503, title: 'No answer in time', text, hint: 'See ticketmaild status.' }, assets, asked);
}

export function failurePage(assets: string, asked: Requester = stranger): PageResponse {
  const text = 'This is a defect of ticketmaild. Mail is fetched as before.';
  return answerOf({ code: 500, title: 'Something failed', text, hint: 'The log of the daemon says more.' }, assets, {
    ...asked,
    isForm: true,
  });
}

function answerOf({ code, ...view }: Message, assets: string, { isKnown, isForm }: Requester): PageResponse {
  const frame = { session: null, csrf: '', flash: null, assets, atMs: Date.now() };
  return page(messagePage(frame, { ...view, isKnown, isRepeatable: !isForm }), code);
}

/**
 * What a form led to, kept until the next page of that admin session shows it, once.
 *
 * In memory alone and bounded: the oldest goes first. The key is the hash of the token, so that no token lies about here.
 */

type Flashes = {
  put(token: string, flash: Flash): void;
  /** Null when there is none, or it is so old that nobody remembers what it was about. */
  take(token: string): Flash | null;
};

const flashesMax = 200;
const rememberedMs = 60_000;

/** `nowMs`: a clock that only goes on. */
export function createFlashes(nowMs: () => number): Flashes {
  const kept = new Map<string, { readonly flash: Flash; readonly atMs: number }>();
  return {
    put(token, flash) {
      const key = keyOf(token);
      kept.delete(key);
      kept.set(key, { flash, atMs: nowMs() });
      for (const oldest of kept.keys()) {
        if (kept.size <= flashesMax) break;
        kept.delete(oldest);
      }
    },
    take(token) {
      const key = keyOf(token);
      const found = kept.get(key);
      kept.delete(key);
      return found === undefined || nowMs() - found.atMs > rememberedMs ? null : found.flash;
    },
  };
}

function keyOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
