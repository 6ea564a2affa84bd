/**
 * Requests, responses and routes of the admin page as values: a route knows neither the HTTP framework nor sockets.
 */

import { createHash } from 'node:crypto';
import type { AdminService, AdminSession, RefusalReason } from '../../../admin/service.ts';
import { isFailure } from '../../../errors.ts';
import { asRunHere } from '../../../text/program-name.ts';
import type { SubmittedForm } from '../http/form.ts';
import { type Flash, type Frame, messagePage } from '../pages/layout.ts';

/** A request for a page, or with a form. */
export type PageRequest = {
  /** The client's address. */
  readonly address: string;
  /** Origin of the page as the browser sees it. */
  readonly origin: string;
  readonly query: URLSearchParams;
  /** The values of the two cookies; null: none, or not of the form that the page sets. */
  readonly token: string | null;
  readonly visitor: string | null;
  /** False for HEAD and for an automatic refresh: a flash is not shown by them. */
  readonly isShown: boolean;
};

export type SignedInRequest = PageRequest & { readonly token: string; readonly session: AdminSession };

export type PageResponse = {
  readonly code: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** New values of the cookies; null deletes one, absent leaves it. */
  readonly cookies?: { readonly session?: string | null; readonly visitor?: string | null };
} & ({ readonly html: string } | { readonly to: string });

/** The response to a form. `refused`: nothing was changed. */
export type FormResponse = PageResponse | { readonly refused: RefusalReason; readonly response: PageResponse };

type Show<Request> = (request: Request) => Promise<PageResponse>;
type Change<Request> = (request: Request, form: SubmittedForm) => Promise<FormResponse>;

/** A page (`show`), or a form that changes something (`change`). `about`: its name in the audit. */
export type Route =
  | {
      readonly about: string;
      readonly access: 'public';
      readonly show?: Show<PageRequest>;
      readonly change?: Change<PageRequest>;
    }
  | {
      readonly about: string;
      readonly access: 'signed_in';
      readonly show?: Show<SignedInRequest>;
      /** The CSRF token of the form was right. */
      readonly change?: Change<SignedInRequest>;
    };

export function signedInPage(about: string, show: Show<SignedInRequest>): Route {
  return { about, access: 'signed_in', show };
}

export function signedInForm(about: string, change: Change<SignedInRequest>): Route {
  return { about, access: 'signed_in', change };
}

export type Routes = ReadonlyMap<string, Route>;

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
  mailboxes: '/admin/mailboxes',
  mailbox: '/admin/mailbox',
  callback: '/admin/oauth/callback',
  encryption: '/admin/server/encryption',
} as const;

/** The redirect address that the registration of the application lists (RFC 6749 section 3.1.2). */
export function callbackAddress({ origin }: Pick<PageRequest, 'origin'>): string {
  return `${origin}${paths.callback}`;
}

export function page(html: string, code = 200): PageResponse {
  return { code, html };
}

/** 303 See Other: the browser gets the page (RFC 9110, section 15.4.4). */
export function redirectTo(to: string): PageResponse {
  return { code: 303, to };
}

/** The frame of a page for an admin who is signed in; takes the flash, which is shown once. */
export function frameFor(request: SignedInRequest, { flashes, assets }: RouteContext): Frame {
  const flash = request.isShown ? flashes.take(request.token) : null;
  return { session: request.session, csrf: request.session.csrf, flash, assets, atMs: Date.now() };
}

/** Post/Redirect/Get: the page that is loaded next shows the flash. */
export function redirectWithFlash(
  to: string,
  request: SignedInRequest,
  { flashes }: RouteContext,
  flash: Flash,
): PageResponse {
  flashes.put(request.token, flash);
  return redirectTo(to);
}

/**
 * The response of `work`; if a rule refused it, a redirect to `to` with the reason. Rethrows database and unexpected
 * failures.
 */
export async function redirectOnRefusal(
  to: string,
  request: SignedInRequest,
  context: RouteContext,
  work: () => Promise<FormResponse>,
): Promise<FormResponse> {
  try {
    return await work();
  } catch (error) {
    if (!isFailure(error) || error.code === 'unexpected' || error.domain === 'database') throw error;
    const text = `Not done: ${error.message}. ${asRunHere(error.hint)}`;
    const refused = error.code === 'operation_running' ? 'operation_running' : 'not_possible_now';
    return { refused, response: redirectWithFlash(to, request, context, { tone: 'bad', text }) };
  }
}

/** A page number counts from 1; anything else is the first page. */
export function pageNumber(text: string | null | undefined): number {
  return text !== null && text !== undefined && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : 1;
}

// Message pages: for a refused request or a failure. Nothing of the request is in them.

type MessageText = {
  readonly code: number;
  readonly title: string;
  readonly text: string;
  readonly hint: string | null;
};

const openAgain = 'Nothing was changed. Open the page again, and try once more from there.';
const seeState = 'The page shows the current state.';

const refusals: Readonly<Record<RefusalReason, MessageText>> = {
  bad_request: { code: 400, title: 'Bad request', text: 'No page here sends such a request.', hint: null },
  not_signed_in: { code: 403, title: 'Not signed in', text: 'Nothing was changed. Sign in first.', hint: null },
  csrf: { code: 403, title: 'The form is out of date', text: openAgain, hint: null },
  foreign_origin: {
    code: 403,
    title: 'Not from this page',
    text: 'The form was sent from another site. Nothing was changed.',
    hint: 'Behind a proxy, [admin] origin must be the address in the address bar of the browser.',
  },
  foreign_host: {
    code: 421,
    title: 'Not served under this name',
    text: 'The admin page is not served under this host name.',
    hint: 'It is served under the name in [admin] listen, or in [admin] origin.',
  },
  method: { code: 405, title: 'Method not allowed', text: 'This address does not support the method.', hint: null },
  not_found: { code: 404, title: 'Not found', text: 'There is no such page.', hint: null },
  too_large: { code: 413, title: 'Too large', text: 'The form is larger than any form here.', hint: null },
  not_acknowledged: { code: 422, title: 'Both boxes are needed', text: openAgain, hint: null },
  proof_refused: { code: 409, title: 'The proof file is not right', text: seeState, hint: null },
  operation_running: { code: 409, title: 'Another operation is running', text: seeState, hint: null },
  not_possible_now: { code: 409, title: 'Not possible now', text: seeState, hint: null },
};

/**
 * `isKnown`: the client is signed in, or was. `isForm`: it sent a form, so that loading the address again shows no
 * page.
 */
export type Requester = { readonly isKnown: boolean; readonly isForm: boolean };

/** `code` replaces the status of the reason. */
export function refusalPage(reason: RefusalReason, assets: string, code?: number, isKnown = false): PageResponse {
  const message = { ...refusals[reason], ...(code === undefined ? {} : { code }) };
  return messageResponse(message, assets, { isKnown: isKnown && reason !== 'not_signed_in', isForm: true });
}

export function databaseUnavailablePage(assets: string, requester: Requester): PageResponse {
  const text =
    'The database does not answer, so nothing can be shown or changed. Messages stay on their servers meanwhile.';
  const hint = 'Run ticketmaild status on the host of the daemon.';
  return messageResponse({ code: 503, title: 'The database is unavailable', text, hint }, assets, requester);
}

export function timeoutPage(assets: string, requester: Requester): PageResponse {
  const text = 'The response took too long. Open the page again to see whether something was changed.';
  return messageResponse(
    { code: 503, title: 'No answer in time', text, hint: 'See ticketmaild status.' },
    assets,
    requester,
  );
}

export function failurePage(assets: string, requester: Requester): PageResponse {
  const text = 'This is a defect of ticketmaild. Messages are fetched as before.';
  return messageResponse({ code: 500, title: 'Something failed', text, hint: 'See the log of the daemon.' }, assets, {
    ...requester,
    isForm: true,
  });
}

function messageResponse({ code, ...view }: MessageText, assets: string, { isKnown, isForm }: Requester): PageResponse {
  const frame = { session: null, csrf: '', flash: null, assets, atMs: Date.now() };
  return page(messagePage(frame, { ...view, isKnown, isRepeatable: !isForm }), code);
}

// Flash messages: the result of a form, for the next page of that admin session. In memory, bounded, by hash of the
// token.

type Flashes = {
  put(token: string, flash: Flash): void;
  /** null: there is none that is recent. */
  take(token: string): Flash | null;
};

const flashesMax = 200;
const shownWithinMs = 60_000;

/** `nowMs`: a monotonic clock. */
export function createFlashes(nowMs: () => number): Flashes {
  const flashes = new Map<string, { readonly flash: Flash; readonly atMs: number }>();
  return {
    put(token, flash) {
      const key = keyOf(token);
      flashes.delete(key);
      flashes.set(key, { flash, atMs: nowMs() });
      for (const oldest of flashes.keys()) {
        if (flashes.size <= flashesMax) break;
        flashes.delete(oldest);
      }
    },
    take(token) {
      const key = keyOf(token);
      const found = flashes.get(key);
      flashes.delete(key);
      return found === undefined || nowMs() - found.atMs > shownWithinMs ? null : found.flash;
    },
  };
}

function keyOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
