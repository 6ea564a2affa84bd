/**
 * Routes of Server > Encryption: the page, and its forms to enable, rotate, disable and verify a backup.
 *
 * The server checks the acknowledgements, and that an operation to continue was begun, whatever the page offered.
 */
import type { BackupVerdict, OperationKind, OperationStart } from '../../../admin/service.ts';
import type { FormFields } from '../http/form.ts';
import { encryptionPage } from '../pages/encryption.ts';
import { proofFaults } from '../pages/encryption-disable.ts';
import type { EnableForm, Flash } from '../pages/layout.ts';
import {
  type FormResponse,
  frameFor,
  type PageResponse,
  page,
  paths,
  type Route,
  type RouteContext,
  type Routes,
  redirectOnRefusal,
  redirectWithFlash,
  refusalPage,
  type SignedInRequest,
  signedInForm,
  signedInPage,
} from './responses.ts';

type Change = (request: SignedInRequest, fields: FormFields) => Promise<FormResponse>;

export function encryptionRoutes(context: RouteContext): Routes {
  const { service } = context;
  const form = (name: string, change: Change): [string, Route] => [
    `${paths.encryption}/${name}`,
    signedInForm(`encryption ${name}`, (request, { fields }) =>
      redirectOnRefusal(paths.encryption, request, context, () => change(request, fields)),
    ),
  ];
  const flashed = (request: SignedInRequest, flash: Flash): PageResponse =>
    redirectWithFlash(paths.encryption, request, context, flash);
  return new Map<string, Route>([
    [paths.encryption, signedInPage('encryption', (request) => show(request, context, null, 200))],
    form('enable', (request, fields) => enable(request, fields, context)),
    form('rotate', async (request) =>
      started(request, 'rotate', await service.startOperation('rotate', request.session.name), context),
    ),
    form('continue', (request, fields) => continueOperation(request, fields, context)),
    form('request-disable', async (request) => {
      await service.requestDisable(request.session.name);
      return flashed(request, { tone: 'good', text: 'Now create the file on the server, as the page says.' });
    }),
    form('confirm-disable', async (request) => {
      const start = await service.confirmDisable(request.session.name);
      if (start.kind === 'started') return started(request, 'disable', start, context);
      const text = (await proofText(context)) ?? start.sentence;
      return { refused: 'proof_refused', response: flashed(request, { tone: 'bad', text }) };
    }),
    form('cancel-disable', async (request) => {
      await service.cancelDisable(request.session.name);
      return flashed(request, { tone: 'good', text: 'The request to disable encryption was withdrawn.' });
    }),
    form('verify-backup', (request, fields) => verifyBackup(request, fields, context)),
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

async function enable(request: SignedInRequest, fields: FormFields, context: RouteContext): Promise<FormResponse> {
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
  fields: FormFields,
  context: RouteContext,
): Promise<FormResponse> {
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
): FormResponse {
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
  fields: FormFields,
  context: RouteContext,
): Promise<FormResponse> {
  const flashed = (tone: Flash['tone'], text: string): PageResponse =>
    redirectWithFlash(paths.encryption, request, context, { tone, text });
  const keyIds = (fields.get('key_ids') ?? '')
    .toLowerCase()
    .split(' ')
    .filter((keyId) => keyId !== '');
  if (keyIds.length === 0 || keyIds.length > keysMax || !keyIds.every((keyId) => /^[0-9a-f]{16}$/.test(keyId))) {
    const text = `Give the fingerprints of the copy: 1 to ${keysMax}, each of 16 hexadecimal digits.`;
    return { refused: 'bad_request', response: flashed('bad', text) };
  }
  const verdict = await context.service.verifyBackup(keyIds, request.session.name);
  if (verdict.kind === 'same') return flashed('good', 'The copy holds every key of the key file.');
  if (verdict.kind === 'no_key') return flashed('bad', 'There is no key here to compare with.');
  return flashed('bad', differenceText(verdict));
}

function differenceText({ kind, keyIds, formerKeyIds }: Exclude<BackupVerdict, { kind: 'same' | 'no_key' }>): string {
  const inUse = keyIds.join(', ');
  if (kind === 'lacks') return `The copy lacks keys that are in use: ${inUse}. Make a new copy.`;
  if (kind === 'other') return `This is no key of this installation, as far as it is known here. In use is ${inUse}.`;
  const former = `This is a former key, ${formerKeyIds.join(', ')}: keep it as long as database backups of its time exist.`;
  return `${former} In use is ${inUse}: make a copy of that, too.`;
}
