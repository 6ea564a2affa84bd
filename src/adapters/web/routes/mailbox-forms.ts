/**
 * Routes of the Mailboxes page and its forms: list, add, test, pause, resume, settings, new password, remove.
 *
 * What was typed is shown again after a refusal, except passwords, which are never in a response.
 */
import { type MailboxTexts, mailboxFields, newMailboxTexts } from '../../../admin/mailboxes/form.ts';
import type { MailboxRequest, MailboxResult, OverviewQuery, ShownMailbox } from '../../../admin/service.ts';
import type { SubmittedForm } from '../http/form.ts';
import { type MailboxOutcome, mailboxPage } from '../pages/mailbox.ts';
import { addMailboxPage, mailboxSettingsPage, type RefusedForm } from '../pages/mailbox-form.ts';
import { mailboxAddress, mailboxesPage } from '../pages/mailbox-list.ts';
import { nameMax } from './mailbox.ts';
import {
  callbackAddress,
  type FormResponse,
  frameFor,
  type PageResponse,
  page,
  pageNumber,
  paths,
  type Route,
  type RouteContext,
  type Routes,
  redirectTo,
  redirectWithFlash,
  refusalPage,
  type SignedInRequest,
  signedInForm,
  signedInPage,
} from './responses.ts';

type FormOf = { readonly request: SignedInRequest; readonly form: SubmittedForm; readonly context: RouteContext };

export function mailboxFormRoutes(context: RouteContext): Routes {
  const ofMailbox = (
    name: string,
    change: (of: FormOf, shown: ShownMailbox) => Promise<FormResponse>,
  ): [string, Route] => [
    `${paths.mailbox}/${name}`,
    signedInForm(`mailbox ${name}`, async (request, form) => {
      const shown = shownIn(form);
      return shown === null ? badRequest(context) : await change({ request, form, context }, shown);
    }),
  ];
  const showChange = (request: SignedInRequest) =>
    showSettings({ request, context }, request.query.get('name') ?? '', null);
  return new Map<string, Route>([
    [paths.mailboxes, signedInPage('mailboxes', (request) => showList(request, context))],
    [
      `${paths.mailboxes}/add`,
      signedInPage('new mailbox', async (request) => showAdd({ request, context }, null, 200)),
    ],
    [`${paths.mailbox}/settings`, signedInPage('mailbox settings', showChange)],
    [`${paths.mailbox}/add`, signedInForm('mailbox add', (request, form) => addMailbox({ request, form, context }))],
    ofMailbox('set', changeSettings),
    ofMailbox('password', setPassword),
    ofMailbox('test', async (of, shown) => answer(of, shown, await context.service.testMailbox(shown))),
    ofMailbox('pause', (of, shown) => setState(of, shown, 'paused')),
    ofMailbox('resume', (of, shown) => setState(of, shown, 'active')),
    ofMailbox('remove', remove),
  ]);
}

const shows: readonly OverviewQuery['show'][] = ['all', 'failing', 'waiting', 'paused'];
const searchMax = 200;

async function showList(request: SignedInRequest, context: RouteContext): Promise<PageResponse> {
  const { query } = request;
  const show = shows.find((one) => one === query.get('show')) ?? 'all';
  const search = (query.get('search') ?? '').trim().toLowerCase().slice(0, searchMax);
  const view = await context.service.overview({ page: pageNumber(query.get('page')), show, search });
  return page(mailboxesPage(frameFor(request, context), view));
}

function badRequest({ assets }: RouteContext): FormResponse {
  return { refused: 'bad_request', response: refusalPage('bad_request', assets, 422, true) };
}

/** null: no page here sends such a form. */
function shownIn({ fields }: SubmittedForm): ShownMailbox | null {
  const [name, version] = [fields.get('mailbox') ?? '', fields.get('version') ?? ''];
  const isValid = name !== '' && name.length <= nameMax && /^[A-Za-z0-9_-]{43}$/.test(version);
  return isValid ? { name, version } : null;
}

/** A certificate that the form shows is pinned with the box under it, whatever was chosen before. */
function textsIn({ fields }: SubmittedForm): MailboxTexts {
  const sent = Object.fromEntries(mailboxFields.map((name) => [name, fields.get(name) ?? ''])) as MailboxTexts;
  return fields.get('accept_certificate') === 'yes' ? { ...sent, trust: 'pin' } : sent;
}

function requestOf({ request, form }: FormOf): MailboxRequest {
  const { fields, password, ownPassword } = form;
  return {
    ...{ by: request.session.name, address: request.address, password, ownPassword },
    isProbed: fields.get('probe') === 'yes',
    acceptsServer: fields.get('accept_server') === 'yes',
  };
}

type Of = Pick<FormOf, 'request' | 'context'>;

function showAdd({ request, context }: Of, refused: RefusedForm | null, code: number): PageResponse {
  const form = refused ?? { texts: newMailboxTexts, error: null, probe: null, isProbed: true };
  const providers = context.service.providers();
  return page(addMailboxPage(frameFor(request, context), { ...form, providers }), code);
}

async function addMailbox(of: FormOf): Promise<FormResponse> {
  const texts = textsIn(of.form);
  const request = requestOf(of);
  const result = await of.context.service.addMailbox(texts, request);
  if (result.kind === 'done') return doneAt(mailboxAddress(result.name), of, result);
  return { refused: 'not_possible_now', response: showAdd(of, refusedForm(texts, request, result), 422) };
}

function refusedForm(
  texts: MailboxTexts,
  { isProbed }: MailboxRequest,
  result: Exclude<MailboxResult, { kind: 'done' }>,
): RefusedForm {
  const error = result.kind === 'refused' ? result.sentence : null;
  return { texts, isProbed, error, probe: result.kind === 'probe_failed' ? result.probe : null };
}

function doneAt(to: string, { request, context }: Of, { sentence }: { readonly sentence: string }): PageResponse {
  return redirectWithFlash(to, request, context, { tone: 'good', text: sentence });
}

/**
 * A name that no mailbox has leads to the list. A refused form names the row that was shown first: where that is
 * another one by now, it is refused until the page is opened again.
 */
async function showSettings(
  { request, context }: Of,
  name: string,
  refused: RefusedForm | null,
  version: string | null = null,
): Promise<PageResponse> {
  const view = name === '' || name.length > nameMax ? null : await context.service.mailboxSettings(name);
  if (view === null) return redirectTo(paths.mailboxes);
  const shown = version === null ? view : { ...view, version };
  return page(mailboxSettingsPage(frameFor(request, context), shown, refused), refused === null ? 200 : 422);
}

async function changeSettings(of: FormOf, shown: ShownMailbox): Promise<FormResponse> {
  const texts = textsIn(of.form);
  const request = requestOf(of);
  const result = await of.context.service.changeMailbox(shown, texts, request);
  if (result.kind === 'done') return doneAt(mailboxAddress(result.name), of, result);
  const response = await showSettings(of, shown.name, refusedForm(texts, request, result), shown.version);
  return { refused: 'not_possible_now', response };
}

async function setPassword(of: FormOf, shown: ShownMailbox): Promise<FormResponse> {
  const result = await of.context.service.setMailboxPassword(shown, requestOf(of));
  return result.kind === 'done' ? doneAt(mailboxAddress(result.name), of, result) : await answer(of, shown, result);
}

async function setState(of: FormOf, shown: ShownMailbox, state: 'active' | 'paused'): Promise<FormResponse> {
  const result = await of.context.service.setMailboxState(shown, state, of.request.session.name);
  return result.kind === 'done' ? doneAt(mailboxAddress(result.name), of, result) : await answer(of, shown, result);
}

async function remove(of: FormOf, shown: ShownMailbox): Promise<FormResponse> {
  const typed = (of.form.fields.get('typed_name') ?? '').trim().normalize('NFC');
  const result: MailboxResult =
    typed === shown.name.trim().normalize('NFC')
      ? await of.context.service.removeMailbox(shown, requestOf(of))
      : { kind: 'refused', sentence: 'Nothing was removed: the name that was typed is not that of the mailbox.' };
  return result.kind === 'done' ? doneAt(paths.mailboxes, of, result) : await answer(of, shown, result);
}

/** The page of the mailbox with a result that needs more room than a flash. */
async function answer({ request, context }: Of, { name }: ShownMailbox, result: MailboxResult): Promise<FormResponse> {
  const isDone = result.kind === 'done';
  const outcome: MailboxOutcome = {
    error: result.kind === 'refused' ? result.sentence : null,
    probe: result.kind === 'refused' ? null : result.probe,
  };
  const view = await context.service.mailboxSettings(name);
  if (view === null) {
    const text = outcome.error ?? 'There is no such mailbox any more.';
    const response = redirectWithFlash(paths.mailboxes, request, context, { tone: 'bad', text });
    return { refused: 'not_possible_now', response };
  }
  const shown = mailboxPage(frameFor(request, context), view, callbackAddress(request), outcome);
  return isDone ? page(shown) : { refused: 'not_possible_now', response: page(shown, 422) };
}
