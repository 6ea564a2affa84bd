/**
 * Routes of Server > Encryption: the page, and its forms to enable, rotate, disable and verify a backup.
 *
 * The server checks the acknowledgements, and that an operation to continue was begun, whatever the page offered.
 */
import type { BackupVerdict, OperationKind, OperationStart } from '../../../admin/service.ts';
import type { SubmittedForm } from '../http/form.ts';
import { encryptionPage } from '../pages/encryption.ts';
import { proofFaults } from '../pages/encryption-disable.ts';
import type { EnableForm, Flash } from '../pages/layout.ts';
import {
  frameFor,
  type PageResponse,
  page,
  paths,
  type RefusedResponse,
  type Route,
  type RouteContext,
  type Routes,
  redirectOnRefusal,
  redirectWithFlash,
  refusalPage,
  type SignedInRequest,
} from './responses.ts';

type Change = (request: SignedInRequest, form: SubmittedForm) => Promise<PageResponse | RefusedResponse>;

export function encryptionRoutes(context: RouteContext): Routes {
  const formRoute = (name: string, work: Change): [string, Route] => {
    const change: Change = (request, form) =>
      redirectOnRefusal(paths.encryption, request, context, () => work(request, form));
    return [`${paths.encryption}/${name}`, { about: `encryption ${name}`, access: 'signed_in', change }];
  };
  const flashed = (request: SignedInRequest, flash: Flash): PageResponse =>
    redirectWithFlash(paths.encryption, request, context, flash);
  return new Map<string, Route>([
    [
      paths.encryption,
      {
        about: 'encryption',
        access: 'signed_in',
        show: (request: SignedInRequest) => show(request, context, null, 200),
      },
    ],
    formRoute('enable', (request, { fields }) => enable(request, fields, context)),
    formRoute('rotate', async (request) =>
      started(request, 'rotate', await context.service.startOperation('rotate', request.session.name), context),
    ),
    formRoute('continue', (request, { fields }) => continueOperation(request, fields, context)),
    formRoute('request-disable', async (request) => {
      await context.service.requestDisable(request.session.name);
      return flashed(request, { tone: 'good', text: 'Now create the file on the server, as the page says.' });
    }),
    formRoute('confirm-disable', async (request) => {
      const start = await context.service.confirmDisable(request.session.name);
      if (start.kind === 'started') return started(request, 'disable', start, context);
      const text = (await proofText(context)) ?? start.sentence;
      return { refused: 'proof_refused', response: flashed(request, { tone: 'bad', text }) };
    }),
    formRoute('cancel-disable', async (request) => {
      await context.service.cancelDisable(request.session.name);
      return flashed(request, { tone: 'good', text: 'The request to disable encryption was withdrawn.' });
    }),
    formRoute('verify-backup', (request, { fields }) => verifyBackup(request, fields, context)),
  ]);
}

async function show(
  request: SignedInRequest,
  context: RouteContext,
  form: EnableForm | null,
  code: number,
): Promise<PageResponse> {
  const view = await context.service.encryption();
  const frame = frameFor(request, context);
  return page(encryptionPage(frame, view, form), code);
}

async function enable(
  request: SignedInRequest,
  fields: SubmittedForm['fields'],
  context: RouteContext,
): Promise<PageResponse | RefusedResponse> {
  const form = { keyLoss: fields.get('accept_key_loss') === 'yes', backup: fields.get('backup_prepared') === 'yes' };
  if (form.keyLoss && form.backup)
    return started(request, 'enable', await context.service.startOperation('enable', request.session.name), context);
  context.flashes.put(request.token, { tone: 'bad', text: 'Nothing was changed: both boxes must be ticked.' });
  return { refused: 'not_acknowledged', response: await show(request, context, form, 422) };
}

const kinds: readonly OperationKind[] = ['enable', 'rotate', 'disable'];

/** Only an unfinished operation: each other one has a form of its own, with its own conditions. */
async function continueOperation(
  request: SignedInRequest,
  fields: SubmittedForm['fields'],
  context: RouteContext,
): Promise<PageResponse | RefusedResponse> {
  const kind = kinds.find((one) => one === fields.get('kind'));
  if (kind === undefined)
    return { refused: 'bad_request', response: refusalPage('bad_request', context.assets, 422, true) };
  const { unfinished } = await context.service.encryption();
  const sentence = 'Nothing was changed: no operation of that kind is unfinished.';
  const start: OperationStart =
    unfinished === kind
      ? await context.service.startOperation(kind, request.session.name)
      : { kind: 'refused', sentence };
  return started(request, kind, start, context);
}

const startedTexts: Readonly<Record<OperationKind, string>> = {
  enable: 'Encryption is being enabled, whether or not this page stays open.',
  rotate: 'The key is being rotated, whether or not this page stays open.',
  disable: 'Encryption is being disabled, whether or not this page stays open.',
};

function started(
  request: SignedInRequest,
  kind: OperationKind,
  start: OperationStart,
  context: RouteContext,
): PageResponse | RefusedResponse {
  if (start.kind === 'started')
    return redirectWithFlash(paths.encryption, request, context, { tone: 'good', text: startedTexts[kind] });
  const flash: Flash = { tone: 'bad', text: start.sentence };
  return { refused: 'not_possible_now', response: redirectWithFlash(paths.encryption, request, context, flash) };
}

/** The checks that the proof file fails now; null: it passes all of them. */
async function proofText({ service }: RouteContext): Promise<string | null> {
  const { proofRequest } = await service.encryption();
  const faults = proofFaults(proofRequest?.checks ?? []);
  return faults.length === 0 ? null : `Nothing was changed: the proof file ${faults.join(', and ')}.`;
}

const keysMax = 8;

async function verifyBackup(
  request: SignedInRequest,
  fields: SubmittedForm['fields'],
  context: RouteContext,
): Promise<PageResponse | RefusedResponse> {
  const keyIds = (fields.get('key_ids') ?? '')
    .toLowerCase()
    .split(' ')
    .filter((keyId) => keyId !== '');
  if (keyIds.length === 0 || keyIds.length > keysMax || !keyIds.every((keyId) => /^[0-9a-f]{16}$/.test(keyId))) {
    const text = `Give the fingerprints of the copy: 1 to ${keysMax}, each of 16 hexadecimal digits.`;
    const response = request.wantsJson
      ? { code: 422, json: { error: text } }
      : redirectWithFlash(paths.encryption, request, context, { tone: 'bad', text });
    return { refused: 'bad_request', response };
  }
  const verdict = await context.service.verifyBackup(keyIds, request.session.name);
  if (request.wantsJson) {
    const missing = verdict.kind === 'lacks' ? verdict.keyIds : [];
    return { code: 200, json: { verdict: verdict.kind, key_ids: missing } };
  }
  const flash: Flash = { tone: verdict.kind === 'same' ? 'good' : 'bad', text: verdictText(verdict) };
  return redirectWithFlash(paths.encryption, request, context, flash);
}

function verdictText(verdict: BackupVerdict): string {
  if (verdict.kind === 'same') return 'The copy holds every key of the key file.';
  if (verdict.kind === 'no_key') return 'There is no key here to compare with.';
  return `The copy lacks keys that are in use: ${verdict.keyIds.join(', ')}. Make a new copy.`;
}
