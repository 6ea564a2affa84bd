/**
 * Routes of one mailbox: its settings, and their confirmation.
 */
import type { SubmittedForm } from '../http/form.ts';
import { mailboxPage } from '../pages/mailbox.ts';
import {
  callbackAddress,
  type FormResponse,
  frameFor,
  type PageResponse,
  page,
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

/** No mailbox has a longer name. */
export const nameMax = 255;

export function mailboxRoutes(context: RouteContext): Routes {
  return new Map<string, Route>([
    [paths.mailbox, signedInPage('mailbox', (request) => show(request, context))],
    [
      `${paths.mailbox}/confirm`,
      signedInForm('mailbox confirm', (request, form) =>
        redirectOnRefusal(paths.mailboxes, request, context, () => confirm(request, form, context)),
      ),
    ],
    [
      `${paths.mailbox}/retry`,
      signedInForm('mailbox retry', (request, form) =>
        redirectOnRefusal(paths.mailboxes, request, context, () => retry(request, form, context)),
      ),
    ],
  ]);
}

/** A name that no mailbox has leads to the list. */
async function show(request: SignedInRequest, context: RouteContext): Promise<PageResponse> {
  const name = request.query.get('name') ?? '';
  const view = name === '' || name.length > nameMax ? null : await context.service.mailboxSettings(name);
  return view === null
    ? redirectTo(paths.mailboxes)
    : page(mailboxPage(frameFor(request, context), view, callbackAddress(request)));
}

async function confirm(
  request: SignedInRequest,
  { fields }: SubmittedForm,
  context: RouteContext,
): Promise<FormResponse> {
  const [name, digest] = [fields.get('name') ?? '', fields.get('digest') ?? ''];
  if (name === '' || name.length > nameMax || !/^[A-Za-z0-9_-]{43}$/.test(digest))
    return { refused: 'bad_request', response: refusalPage('bad_request', context.assets, 422, true) };
  const { isDone, sentence } = await context.service.confirmMailbox(name, digest, request.session.name);
  const to = `${paths.mailbox}?${new URLSearchParams({ name })}`;
  return redirectWithFlash(to, request, context, { tone: isDone ? 'good' : 'bad', text: sentence });
}

/** Of one mailbox, or of all of a host. */
async function retry(
  request: SignedInRequest,
  { fields }: SubmittedForm,
  context: RouteContext,
): Promise<FormResponse> {
  const [name, host] = [fields.get('name') ?? '', fields.get('host') ?? ''];
  if ((name === '') === (host === '') || name.length > nameMax || host.length > nameMax)
    return { refused: 'bad_request', response: refusalPage('bad_request', context.assets, 422, true) };
  const { service } = context;
  const { name: by } = request.session;
  const { isDone, sentence } = await (name === '' ? service.retryHost(host, by) : service.retryMailbox(name, by));
  const to = name === '' ? paths.mailboxes : `${paths.mailbox}?${new URLSearchParams({ name })}`;
  return redirectWithFlash(to, request, context, { tone: isDone ? 'good' : 'bad', text: sentence });
}
