/**
 * Routes of the overview and of the quarantine, where a message is requeued, released or discarded.
 *
 * Invalid values in a query are ignored: a page is shown in any case.
 */

import type { FormFields, SubmittedForm } from '../http/form.ts';
import { overviewPage } from '../pages/overview.ts';
import { quarantinePage } from '../pages/quarantine.ts';
import {
  type FormResponse,
  frameFor,
  type PageResponse,
  page,
  pageNumber,
  paths,
  type Route,
  type RouteContext,
  type Routes,
  redirectOnRefusal,
  redirectTo,
  redirectWithFlash,
  refusalPage,
  type SignedInRequest,
  signedInForm,
  signedInPage,
} from './responses.ts';

export function overviewRoutes(context: RouteContext): Routes {
  const start: Route = { about: 'start', access: 'public', show: async () => redirectTo('/admin') };
  return new Map<string, Route>([
    ['/', start],
    ['/admin/', start],
    ['/admin', signedInPage('start', async () => redirectTo(paths.overview))],
    [paths.overview, signedInPage('overview', (request) => showOverview(request, context))],
    [paths.quarantine, signedInPage('quarantine', (request) => showQuarantine(request, context))],
    [
      `${paths.quarantine}/resolve`,
      signedInForm('quarantine resolve', (request, form) =>
        redirectOnRefusal(listPath(form.fields), request, context, () => resolve(request, form, context)),
      ),
    ],
  ]);
}

async function showOverview(request: SignedInRequest, context: RouteContext): Promise<PageResponse> {
  const view = await context.service.overview({ page: 1, show: 'all', search: '' });
  return page(overviewPage(frameFor(request, context), view));
}

async function showQuarantine(request: SignedInRequest, context: RouteContext): Promise<PageResponse> {
  const { query } = request;
  const view = await context.service.quarantine({
    page: pageNumber(query.get('page')),
    reason: reasonIn(query.get('reason')),
  });
  return page(quarantinePage(frameFor(request, context), view));
}

/** null: any reason. */
function reasonIn(text: string | null | undefined): string | null {
  return text !== null && text !== undefined && /^[a-z_]{1,64}$/.test(text) ? text : null;
}

const actions = ['requeue', 'release', 'discard'] as const;
const idMax = 300;

/** Redirects to the page of the list that the form names. */
async function resolve(
  request: SignedInRequest,
  { fields }: SubmittedForm,
  context: RouteContext,
): Promise<FormResponse> {
  const id = fields.get('id') ?? '';
  const action = actions.find((one) => one === fields.get('action'));
  if (action === undefined || id === '' || id.length > idMax)
    return { refused: 'bad_request', response: refusalPage('bad_request', context.assets, 422, true) };
  const { isDone, sentence } = await context.service.resolveQuarantined(id, action, request.session.name);
  return redirectWithFlash(listPath(fields), request, context, { tone: isDone ? 'good' : 'bad', text: sentence });
}

function listPath(fields: FormFields): string {
  const query = new URLSearchParams();
  const number = pageNumber(fields.get('page'));
  const reason = reasonIn(fields.get('reason'));
  if (number > 1) query.set('page', `${number}`);
  if (reason !== null) query.set('reason', reason);
  return query.size === 0 ? paths.quarantine : `${paths.quarantine}?${query}`;
}
