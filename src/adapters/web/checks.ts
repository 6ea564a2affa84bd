/**
 * What a request must be before anything of it is done or its body is read.
 *
 * The address is one of ours to the letter: what would have to be decoded or tidied up first is none. A form must come from
 * a page of ours: browsers say so in `Origin` (Fetch standard) and Sec-Fetch-Site (W3C Fetch Metadata), and cannot be made
 * to say otherwise.
 */
import type { IncomingMessage } from 'node:http';
import type { RefusalReason } from '../../admin/service.ts';
import type { Place } from './place.ts';

export type Turned = { readonly reason: RefusalReason; readonly code?: number };

export const bodyBytesMax = 16 * 1024;

/** The path as it stands in the request; null: it would mean something else once it was decoded or tidied up. */
export function pathOf(url: string): string | null {
  const [path = ''] = url.split('?', 1);
  return /^\/[\w.~/-]*$/.test(path) && !/\/\/|\.\./.test(path) ? path : null;
}

/** The value of a header that may be there once; null: it is not; 'several': more than once. */
function once(request: IncomingMessage, name: string): { readonly value: string | null } | 'several' {
  const values = request.headersDistinct[name] ?? [];
  return values.length > 1 ? 'several' : { value: values[0] ?? null };
}

/** The origin of the page for this request, or why it is turned away. */
export function originOf(request: IncomingMessage, place: Place): { readonly origin: string } | Turned {
  const host = once(request, 'host');
  if (host === 'several' || host.value === null) return { reason: 'bad_request' };
  const origin = place.originOf(host.value);
  return origin === null ? { reason: 'foreign_host' } : { origin };
}

/** False: it asks for what nobody here can do (RFC 9110 section 10.1.1). Its body is there: it need not be told to go on. */
export function expectsNothing(request: IncomingMessage): boolean {
  const expect = once(request, 'expect');
  return expect !== 'several' && (expect.value === null || /^100-continue$/i.test(expect.value));
}

/** Why a form is turned away; null: it is not. */
export function checkForm(request: IncomingMessage, ours: string): Turned | null {
  const [origin, site, type] = ['origin', 'sec-fetch-site', 'content-type'].map((name) => once(request, name));
  if (origin === undefined || site === undefined || type === undefined) return { reason: 'bad_request' };
  if (origin === 'several' || site === 'several' || type === 'several') return { reason: 'bad_request' };
  if (origin.value !== ours) return { reason: 'foreign_origin' };
  if (site.value !== null && site.value !== 'same-origin') return { reason: 'foreign_origin' };
  if (!/^application\/x-www-form-urlencoded(; ?charset=utf-8)?$/i.test(type.value ?? ''))
    return { reason: 'bad_request', code: 415 };
  const length = request.headers['content-length'];
  if (length === undefined || request.headers['transfer-encoding'] !== undefined)
    return { reason: 'bad_request', code: 411 };
  return Number(length) > bodyBytesMax ? { reason: 'too_large' } : null;
}
