/**
 * What a request of the admin page is, and what comes of it, as values: the routes know neither fastify nor sockets.
 */
import type { AdminDesk, RefusalReason, Session } from '../../admin/service.ts';
import { isFailure } from '../../errors.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import type { Flashes } from './flashes.ts';
import type { Flash, Frame } from './pages/frame.ts';

/** A request for a page, or of a form of ours. */
export type Visit = {
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

/** `fields`: of the form, all but the password. */
export type Sent = { readonly fields: ReadonlyMap<string, string>; readonly password: SecretBytes | null };

export type SignedIn = Visit & { readonly token: string; readonly session: Session };

export type Answer = {
  readonly code: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** What the cookies become; absent: they stay. */
  readonly cookies?: { readonly session?: string | null; readonly visitor?: string | null };
} & ({ readonly html: string } | { readonly json: object } | { readonly to: string });

/** A request that is turned away, with what its sender is shown. */
export type Refused = { readonly refused: RefusalReason; readonly answer: Answer };

/** A page, or a form that changes something. `about`: what the audit calls it. */
export type Route =
  | {
      readonly about: string;
      readonly access: 'anybody';
      readonly show?: (visit: Visit) => Promise<Answer>;
      readonly change?: (visit: Visit, sent: Sent) => Promise<Answer | Refused>;
    }
  | {
      readonly about: string;
      readonly access: 'signed_in';
      readonly show?: (visit: SignedIn) => Promise<Answer>;
      /** The token of the form was right. */
      readonly change?: (visit: SignedIn, sent: Sent) => Promise<Answer | Refused>;
    };

export type Routes = ReadonlyMap<string, Route>;

/** What the routes are made of. */
export type RouteParts = {
  readonly desk: AdminDesk;
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

export function page(html: string, code = 200): Answer {
  return { code, html };
}

/** To a page, by GET (RFC 9110 section 15.4.4). */
export function goTo(to: string): Answer {
  return { code: 303, to };
}

/** What is around a page for who is signed in. A flash is shown once. */
export function frameFor(visit: SignedIn, { flashes, assets }: RouteParts): Frame {
  const flash = visit.isShown ? flashes.take(visit.token) : null;
  return { session: visit.session, csrf: visit.session.csrf, flash, assets, atMs: Date.now() };
}

/** To `to`, where the next page says what came of it. */
export function goToTold(to: string, visit: SignedIn, { flashes }: RouteParts, flash: Flash): Answer {
  flashes.put(visit.token, flash);
  return goTo(to);
}

/**
 * What `work` answers; or, where a rule refused it, `to` again with the reason in a sentence. What is wrong with the database,
 * and what nobody expected, is thrown on.
 */
export async function orTold(
  to: string,
  visit: SignedIn,
  parts: RouteParts,
  work: () => Promise<Answer | Refused>,
): Promise<Answer | Refused> {
  try {
    return await work();
  } catch (error) {
    if (!isFailure(error) || error.code === 'unexpected' || error.code.startsWith('database_')) throw error;
    const text = `Nothing came of it: ${error.message}. ${error.hint}`;
    const refused = error.code === 'operation_running' ? 'operation_running' : 'not_possible_now';
    return { refused, answer: goToTold(to, visit, parts, { tone: 'bad', text }) };
  }
}

/** Pages count from 1; what is none is the first. */
export function pageNumber(text: string | null | undefined): number {
  return text !== null && text !== undefined && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : 1;
}
