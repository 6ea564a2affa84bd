/**
 * Overview and quarantine: what they are asked for, and what can be done with a mail there.
 *
 * What stands in an address is taken where it means something, and left out where it does not: a page is shown in any case.
 */

import type { OverviewQuery } from '../../../admin/service.ts';
import type { SubmittedForm } from '../http/form.ts';
import { overviewPage } from '../pages/overview.ts';
import { quarantinePage } from '../pages/quarantine.ts';
import {
  frameFor,
  type PageResponse,
  page,
  pageNumber,
  paths,
  type RefusedResponse,
  type Route,
  type RouteContext,
  type Routes,
  redirectOnRefusal,
  redirectTo,
  redirectWithFlash,
  refusalPage,
  type SignedInRequest,
} from './responses.ts';

export function overviewRoutes(parts: RouteContext): Routes {
  const start = async (): Promise<PageResponse> => redirectTo('/admin');
  return new Map<string, Route>([
    ['/', { about: 'start', access: 'anybody', show: start }],
    ['/admin/', { about: 'start', access: 'anybody', show: start }],
    ['/admin', { about: 'start', access: 'signed_in', show: async () => redirectTo(paths.overview) }],
    [
      paths.overview,
      { about: 'overview', access: 'signed_in', show: (visit: SignedInRequest) => showOverview(visit, parts) },
    ],
    [
      paths.quarantine,
      { about: 'quarantine', access: 'signed_in', show: (visit: SignedInRequest) => showQuarantine(visit, parts) },
    ],
    [
      `${paths.quarantine}/settle`,
      {
        about: 'quarantine settle',
        access: 'signed_in',
        change: (visit: SignedInRequest, sent: SubmittedForm) =>
          redirectOnRefusal(listPath(sent.fields), visit, parts, () => settle(visit, sent, parts)),
      },
    ],
  ]);
}

const shows: readonly OverviewQuery['show'][] = ['all', 'failing', 'waiting', 'paused'];
const searchMax = 200;

async function showOverview(visit: SignedInRequest, parts: RouteContext): Promise<PageResponse> {
  const { query } = visit;
  const show = shows.find((one) => one === query.get('show')) ?? 'all';
  const search = (query.get('search') ?? '').trim().toLowerCase().slice(0, searchMax);
  const view = await parts.service.overview({ page: pageNumber(query.get('page')), show, search });
  return page(overviewPage(frameFor(visit, parts), view));
}

async function showQuarantine(visit: SignedInRequest, parts: RouteContext): Promise<PageResponse> {
  const { query } = visit;
  const view = await parts.service.quarantine({
    page: pageNumber(query.get('page')),
    reason: reasonIn(query.get('reason')),
  });
  return page(quarantinePage(frameFor(visit, parts), view));
}

/** A code of ours; null: any. */
function reasonIn(text: string | null | undefined): string | null {
  return text !== null && text !== undefined && /^[a-z_]{1,64}$/.test(text) ? text : null;
}

const ways = ['requeue', 'release', 'discard'] as const;
const idMax = 300;

/** Goes back to the same part of the list where the form says which. */
async function settle(
  visit: SignedInRequest,
  { fields }: SubmittedForm,
  parts: RouteContext,
): Promise<PageResponse | RefusedResponse> {
  const id = fields.get('id') ?? '';
  const way = ways.find((one) => one === fields.get('way'));
  if (way === undefined || id === '' || id.length > idMax)
    return { refused: 'bad_request', answer: refusalPage('bad_request', parts.assets, 422, true) };
  const { isDone, sentence } = await parts.service.resolveQuarantined(id, way, visit.session.name);
  return redirectWithFlash(listPath(fields), visit, parts, { tone: isDone ? 'good' : 'bad', text: sentence });
}

function listPath(fields: SubmittedForm['fields']): string {
  const query = new URLSearchParams();
  const number = pageNumber(fields.get('page'));
  const reason = reasonIn(fields.get('reason'));
  if (number > 1) query.set('page', `${number}`);
  if (reason !== null) query.set('reason', reason);
  return query.size === 0 ? paths.quarantine : `${paths.quarantine}?${query}`;
}
