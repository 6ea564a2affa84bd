/**
 * Server > Encryption: the page, and the forms on it.
 *
 * What is asked without the acknowledgements, or goes on with what nobody began, is refused here, whatever the page offered.
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

type Change = (visit: SignedInRequest, sent: SubmittedForm) => Promise<PageResponse | RefusedResponse>;

export function encryptionRoutes(parts: RouteContext): Routes {
  const form = (name: string, work: Change): [string, Route] => {
    const change: Change = (visit, sent) => redirectOnRefusal(paths.encryption, visit, parts, () => work(visit, sent));
    return [`${paths.encryption}/${name}`, { about: `encryption ${name}`, access: 'signed_in', change }];
  };
  const told = (visit: SignedInRequest, flash: Flash): PageResponse =>
    redirectWithFlash(paths.encryption, visit, parts, flash);
  return new Map<string, Route>([
    [
      paths.encryption,
      { about: 'encryption', access: 'signed_in', show: (visit: SignedInRequest) => show(visit, parts, null, 200) },
    ],
    form('enable', (visit, { fields }) => enable(visit, fields, parts)),
    form('rotate', async (visit) =>
      started(visit, 'rotate', await parts.service.startOperation('rotate', visit.session.name), parts),
    ),
    form('continue', (visit, { fields }) => goOn(visit, fields, parts)),
    form('ask-disable', async (visit) => {
      await parts.service.requestDisable(visit.session.name);
      return told(visit, { tone: 'good', text: 'Now create the file on the server, as the page says.' });
    }),
    form('confirm-disable', async (visit) => {
      const answer = await parts.service.confirmDisable(visit.session.name);
      if (answer.kind === 'started') return started(visit, 'disable', answer, parts);
      const text = (await proofText(parts)) ?? answer.sentence;
      return { refused: 'proof_refused', answer: told(visit, { tone: 'bad', text }) };
    }),
    form('cancel-disable', async (visit) => {
      await parts.service.cancelDisable(visit.session.name);
      return told(visit, { tone: 'good', text: 'Nobody asks to switch encryption off any more.' });
    }),
    form('verify-backup', (visit, { fields }) => verifyBackup(visit, fields, parts)),
  ]);
}

async function show(
  visit: SignedInRequest,
  parts: RouteContext,
  form: EnableForm | null,
  code: number,
): Promise<PageResponse> {
  const view = await parts.service.encryption();
  const frame = frameFor(visit, parts);
  return page(encryptionPage(frame, view, form), code);
}

async function enable(
  visit: SignedInRequest,
  fields: SubmittedForm['fields'],
  parts: RouteContext,
): Promise<PageResponse | RefusedResponse> {
  const form = { keyLoss: fields.get('accept_key_loss') === 'yes', backup: fields.get('backup_prepared') === 'yes' };
  if (form.keyLoss && form.backup)
    return started(visit, 'enable', await parts.service.startOperation('enable', visit.session.name), parts);
  parts.flashes.put(visit.token, { tone: 'bad', text: 'Nothing was changed: both boxes must be ticked.' });
  return { refused: 'not_acknowledged', answer: await show(visit, parts, form, 422) };
}

const kinds: readonly OperationKind[] = ['enable', 'rotate', 'disable'];

/** Only what was begun: anything else has its own form, with its own conditions. */
async function goOn(
  visit: SignedInRequest,
  fields: SubmittedForm['fields'],
  parts: RouteContext,
): Promise<PageResponse | RefusedResponse> {
  const kind = kinds.find((one) => one === fields.get('kind'));
  if (kind === undefined)
    return { refused: 'bad_request', answer: refusalPage('bad_request', parts.assets, 422, true) };
  const { unfinished } = await parts.service.encryption();
  const sentence = 'Nothing was changed: there is nothing of that kind to go on with.';
  const answer: OperationStart =
    unfinished === kind ? await parts.service.startOperation(kind, visit.session.name) : { kind: 'refused', sentence };
  return started(visit, kind, answer, parts);
}

const begun: Readonly<Record<OperationKind, string>> = {
  enable: 'Encryption is being enabled. It goes on by itself, whether or not this page is open.',
  rotate: 'The key is being changed. It goes on by itself, whether or not this page is open.',
  disable: 'Encryption is being switched off. It goes on by itself, whether or not this page is open.',
};

function started(
  visit: SignedInRequest,
  kind: OperationKind,
  answer: OperationStart,
  parts: RouteContext,
): PageResponse | RefusedResponse {
  if (answer.kind === 'started')
    return redirectWithFlash(paths.encryption, visit, parts, { tone: 'good', text: begun[kind] });
  const flash: Flash = { tone: 'bad', text: answer.sentence };
  return { refused: 'not_possible_now', answer: redirectWithFlash(paths.encryption, visit, parts, flash) };
}

/** Which of the three fails, as the proof was looked at just now; null: none does, it was something else. */
async function proofText({ service: desk }: RouteContext): Promise<string | null> {
  const { proofRequest } = await desk.encryption();
  const faults = proofFaults(proofRequest?.checks ?? []);
  return faults.length === 0 ? null : `Nothing was changed: the proof file ${faults.join(', and ')}.`;
}

const keysMax = 8;

async function verifyBackup(
  visit: SignedInRequest,
  fields: SubmittedForm['fields'],
  parts: RouteContext,
): Promise<PageResponse | RefusedResponse> {
  const keyIds = (fields.get('key_ids') ?? '')
    .toLowerCase()
    .split(' ')
    .filter((keyId) => keyId !== '');
  if (keyIds.length === 0 || keyIds.length > keysMax || !keyIds.every((keyId) => /^[0-9a-f]{16}$/.test(keyId))) {
    const text = `Give the fingerprints of the copy: 1 to ${keysMax}, each of 16 hexadecimal digits.`;
    const answer = visit.wantsJson
      ? { code: 422, json: { error: text } }
      : redirectWithFlash(paths.encryption, visit, parts, { tone: 'bad', text });
    return { refused: 'bad_request', answer };
  }
  const verdict = await parts.service.verifyBackup(keyIds, visit.session.name);
  if (visit.wantsJson) {
    const missing = verdict.kind === 'lacks' ? verdict.keyIds : [];
    return { code: 200, json: { verdict: verdict.kind, key_ids: missing } };
  }
  const flash: Flash = { tone: verdict.kind === 'same' ? 'good' : 'bad', text: verdictText(verdict) };
  return redirectWithFlash(paths.encryption, visit, parts, flash);
}

function verdictText(verdict: BackupVerdict): string {
  if (verdict.kind === 'same') return 'The copy holds every key of the key file.';
  if (verdict.kind === 'no_key') return 'There is no key here to compare with.';
  return `The copy lacks keys that are in use: ${verdict.keyIds.join(', ')}. Make a new copy.`;
}
