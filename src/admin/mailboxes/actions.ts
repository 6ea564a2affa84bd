/**
 * Mailbox actions of the page: add, change, test, new password, pause, resume and remove, by the rules of the commands
 * and with their audit rows.
 *
 * A form names the row that it showed by a hash; when the row is another one by now, nothing is changed. The stored
 * password is never sent to another server: that takes the password again. To delete mail on the server and to remove a
 * mailbox take the password of the admin (step-up authentication).
 */

import type { Clock } from '../../async/clock.ts';
import type { PasswordAccess } from '../../encryption/passwords.ts';
import type { Vault } from '../../encryption/vault.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { AuditActor, Mailbox } from '../../ingest/model.ts';
import type { Credential, Credentials, ProbeReport, Sessions } from '../../ingest/ports.ts';
import type { FolderStore, MailboxStore, VersionedMailbox } from '../../ingest/stores.ts';
import type { GrantStore } from '../../oauth/ports.ts';
import type { Revocations } from '../../oauth/revocation.ts';
import { isValidPassword, passwordBytesMax } from '../../secret/sealed-password.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { beforeStored } from '../../text/hints.ts';
import { capitalized } from '../../text/printable.ts';
import { asRunHere } from '../../text/program-name.ts';
import { pageActor } from '../ports.ts';
import type { AdminService, MailboxRequest, MailboxResult, ShownMailbox } from '../service.ts';
import type { SignIn } from '../sign-in/sign-in.ts';
import {
  type AdditionPorts,
  newMailbox,
  refuseTakenName,
  sharedFolderNote,
  storeWithGrant,
  storeWithPassword,
} from './addition.ts';
import {
  type ChangePorts,
  changedSettings,
  changeSettings,
  changeWithPassword,
  confirmedParts,
  isOtherServer,
  isSame,
  type MailboxChange,
  needsActionProbe,
  replacePassword,
} from './change.ts';
import {
  addOptions,
  addressesIn,
  changeOptions,
  grantAsBefore,
  inWordsOfForm,
  type MailboxTexts,
  passwordSignIn,
  pastedAuthorities,
  rowVersion,
} from './form.ts';
import { checkPresentGrant, type GrantSelectionPorts, type SelectedGrant, selectGrant } from './grants.ts';
import { type NewMailbox, readAddresses, readMailboxChanges, readMailboxOptions } from './options.ts';
import { probeNotes } from './post-actions.ts';
import type { ProbeResult, ProbeRunner } from './probe-runner.ts';
import { refuseGrant, refusePartlyRemoved, type ServerDoubtPorts, serverDoubt } from './server-doubt.ts';

export type MailboxActionPorts = {
  readonly store: MailboxStore &
    Pick<FolderStore, 'readFolderProgress'> &
    Pick<GrantStore, 'grantByName' | 'mailboxesOfGrant' | 'removeGrant'>;
  readonly passwords: PasswordAccess;
  readonly confirmations: ChangePorts['confirmations'];
  readonly vault: Vault;
  readonly credentials: Pick<Credentials, 'withCredential'>;
  readonly sessions: Pick<Sessions, 'probe'>;
  readonly oauth: GrantSelectionPorts['oauth'] & { readonly revocations: Pick<Revocations, 'revoke'> };
  readonly probes: ProbeRunner;
  readonly verifyPassword: SignIn['verifyPassword'];
  readonly actor: AuditActor;
  readonly clock: Pick<Clock, 'nowMs'>;
  /** The list of mailboxes is another one. */
  readonly changed: () => void;
};

type Ports = MailboxActionPorts & AdditionPorts & ChangePorts & ServerDoubtPorts;

export type MailboxActions = Pick<
  AdminService,
  'addMailbox' | 'changeMailbox' | 'setMailboxPassword' | 'testMailbox' | 'setMailboxState' | 'removeMailbox'
>;

export function createMailboxActions(given: MailboxActionPorts): MailboxActions {
  const portsOf = (by: string): Ports => ({ ...given, actor: { who: pageActor(by), host: given.actor.host } });
  const act = async (work: () => Promise<MailboxResult>): Promise<MailboxResult> => {
    try {
      return await work();
    } catch (error) {
      if (!isFailure(error) || error.domain === 'database' || error.code === 'unexpected') throw error;
      const { message, hint } = inWordsOfForm(error);
      return refused(`${capitalized(message)}. ${asRunHere(hint)}`.trim());
    } finally {
      given.changed();
    }
  };
  return {
    addMailbox: (texts, request) => act(() => add(portsOf(request.by), texts, request)),
    changeMailbox: (shown, texts, request) => act(() => change(portsOf(request.by), shown, texts, request)),
    setMailboxPassword: (shown, request) => act(() => setPassword(portsOf(request.by), shown, request)),
    testMailbox: (shown) => act(() => test(portsOf(''), shown)),
    setMailboxState: (shown, state, by) => act(() => setState(portsOf(by), shown, state)),
    removeMailbox: (shown, request) => act(() => remove(portsOf(request.by), shown, request)),
  };
}

function refused(sentence: string): MailboxResult {
  return { kind: 'refused', sentence };
}

const changedMeanwhile = 'the mailbox was changed since the page was shown, or is gone';

/** The row that the form showed. Throws `refused`, also for one that can only be removed. */
async function shownRow({ store }: Ports, { name, version }: ShownMailbox): Promise<VersionedMailbox> {
  const found = await store.versionedMailbox(name).catch((error: unknown) => {
    if (isFailure(error, 'not_found', 'mailbox_invalid')) return null;
    throw error;
  });
  if (found === null || rowVersion(found) !== version)
    throw new Failure('refused', changedMeanwhile, { hint: 'Nothing was done: check its settings, and try again.' });
  refusePartlyRemoved(found.mailbox);
  return found;
}

async function setState(ports: Ports, shown: ShownMailbox, state: 'active' | 'paused'): Promise<MailboxResult> {
  const { mailbox } = await shownRow(ports, shown);
  await ports.store.setMailboxState(mailbox.id, state, ports.actor);
  const verb = state === 'paused' ? 'paused: a poll in progress ends first' : 'resumed: it is polled now';
  return { kind: 'done', name: mailbox.name, sentence: `${mailbox.name} is ${verb}.`, probe: null };
}

async function test(ports: Ports, shown: ShownMailbox): Promise<MailboxResult> {
  const { mailbox } = await shownRow(ports, shown);
  const { view, report } = await probeStored(ports, mailbox);
  if (report === null) return { kind: 'probe_failed', probe: view };
  const probe = { ...view, notes: noteSentences(mailbox, report) };
  return { kind: 'done', name: mailbox.name, sentence: `${mailbox.name} works.`, probe };
}

function noteSentences({ postAction }: Mailbox, report: ProbeReport): readonly string[] {
  return probeNotes(postAction, report).map((note) => `${capitalized(note)}.`);
}

async function probeStored({ vault, credentials, probes, sessions }: Ports, mailbox: Mailbox): Promise<ProbeResult> {
  await vault.refresh();
  return await probes.run((step) =>
    credentials.withCredential(mailbox, (credential, connection) => sessions.probe(connection, credential, step)),
  );
}

/** With a copy of the password, which is wiped when the probe has ended, also one that was given up. */
async function probeWithPassword(
  { probes, sessions }: Ports,
  { connection }: Pick<Mailbox, 'connection'>,
  password: SecretBytes,
): Promise<ProbeResult> {
  return await probes.run(async (step) => {
    using secret = password.copy();
    const credential: Credential = { kind: 'password', secret };
    return await sessions.probe(connection, credential, step);
  });
}

/** Throws `password_missing`, `usage`. */
function requiredPassword({ password }: MailboxRequest, why: string): SecretBytes {
  if (password === null || password.length === 0)
    throw new Failure('password_missing', `the password of the mailbox is needed${why}`, { hint: '' });
  if (!password.use(isValidPassword))
    throw new Failure('usage', `a password has 1 to ${passwordBytesMax} bytes, and no NUL`, { hint: '' });
  return password;
}

/** Step-up authentication: the password of the admin again. Throws `refused`. */
async function requireOwnPassword(
  { verifyPassword }: Ports,
  { by, address, ownPassword }: MailboxRequest,
  what: string,
): Promise<void> {
  const hint = 'Nothing was changed.';
  if (ownPassword === null || ownPassword.length === 0)
    throw new Failure('refused', `${what} takes your own password`, { hint });
  const result = await verifyPassword(by, ownPassword, address);
  if (result === 'right') return;
  if (result === 'wrong') throw new Failure('refused', 'your own password is wrong', { hint });
  throw new Failure('refused', 'too many passwords were tried', { hint: `${hint} Try again later.` });
}

function beginsToDelete(before: Mailbox | null, { postAction }: Pick<Mailbox, 'postAction'>): boolean {
  return postAction.kind === 'delete' && before?.postAction.kind !== 'delete';
}

const toDelete = 'deleting messages on the mail server';

async function add(ports: Ports, texts: MailboxTexts, request: MailboxRequest): Promise<MailboxResult> {
  const sources = { readFile: pastedAuthorities(texts), nowMs: ports.clock.nowMs() };
  const settings = readMailboxOptions(addOptions(texts), sources);
  await refuseTakenName(ports.store, settings.name, null);
  if (beginsToDelete(null, settings)) await requireOwnPassword(ports, request, toDelete);
  await ports.vault.refresh();
  const added = await (texts.sign_in === passwordSignIn
    ? addWithPassword(ports, settings, request)
    : addWithGrant(ports, settings, texts, request));
  return 'view' in added ? { kind: 'probe_failed', probe: unstored(added.view) } : await done(ports, added, 'is added');
}

function unstored(view: ProbeResult['view']): ProbeResult['view'] {
  const { failure } = view;
  return failure === null ? view : { ...view, failure: { ...failure, hint: beforeStored(failure.hint) } };
}

type Stored = { readonly mailbox: Mailbox; readonly probed: ProbeResult | null; readonly next?: string };

/** A failed probe: nothing was stored. */
type FailedProbe = Pick<ProbeResult, 'view'>;

async function addWithPassword(
  ports: Ports,
  settings: NewMailbox,
  request: MailboxRequest,
): Promise<Stored | FailedProbe> {
  const password = requiredPassword(request, '');
  const probed = request.isProbed ? await probeWithPassword(ports, settings, password) : null;
  if (probed?.report === null) return probed;
  const mailbox = newMailbox(settings, null);
  await storeWithPassword(ports, { mailbox, settings }, password, probed?.report ?? null);
  return { mailbox, probed };
}

/** A grant of a person that is not there yet is given on the page of the mailbox: it is stored without a probe. */
async function addWithGrant(
  ports: Ports,
  settings: NewMailbox,
  { sign_in: oauth, grant }: MailboxTexts,
  request: MailboxRequest,
): Promise<Stored | FailedProbe> {
  const selected = await selectGrant(ports, { oauth, ...(grant === '' ? {} : { grant }) }, settings);
  const mailbox = newMailbox(settings, selected.name);
  return await withSelectedGrant(ports, selected, mailbox, request, (probed) =>
    storeWithGrant(ports, { mailbox, settings }, probed?.report ?? null),
  );
}

/** A grant that the probe created is removed again when anything fails. */
async function withSelectedGrant(
  ports: Ports,
  { name, existing, provider }: SelectedGrant,
  mailbox: Mailbox,
  request: MailboxRequest,
  store: (probed: ProbeResult | null) => Promise<void>,
): Promise<Stored | FailedProbe> {
  if (existing === null && provider.flow === 'person') {
    await store(null);
    return { mailbox, probed: null, next: 'Now connect it: a person signs in at the provider.' };
  }
  let isStored = false;
  try {
    const probed = request.isProbed ? await probeStored(ports, mailbox) : null;
    if (probed?.report === null) return probed;
    await store(probed);
    isStored = true;
    return { mailbox, probed };
  } finally {
    // Another mailbox may use it meanwhile; then it stays.
    if (!isStored && existing === null) await ports.store.removeGrant(name, ports.actor).catch(() => undefined);
  }
}

/** The sentence says what is unusual: of the post-action on this server, another mailbox on the same folder. */
async function done(ports: Ports, { mailbox, probed, next }: Stored, what: string): Promise<MailboxResult> {
  const notes = [`${mailbox.name} ${what}.`];
  const report = probed?.report ?? null;
  if (report !== null) notes.push(...noteSentences(mailbox, report));
  const shared = await sharedFolderNote(ports.store, mailbox, report?.folder.uidValidity ?? null);
  if (shared !== null) notes.push(`${capitalized(shared)}.`);
  if (next !== undefined) notes.push(next);
  return { kind: 'done', name: mailbox.name, sentence: notes.join(' '), probe: probed?.view ?? null };
}

async function change(
  ports: Ports,
  shown: ShownMailbox,
  texts: MailboxTexts,
  request: MailboxRequest,
): Promise<MailboxResult> {
  const before = await shownRow(ports, shown);
  const sources = { readFile: pastedAuthorities(texts), nowMs: ports.clock.nowMs() };
  const settings = readMailboxChanges(changeOptions(texts), before.mailbox, sources);
  const addresses = readAddresses(addressesIn(texts.addresses));
  const selected = await newSignIn(ports, settings, before.mailbox, texts);
  const after = { ...settings, grant: selected === 'as_before' ? settings.grant : (selected?.name ?? null) };
  if (after.name !== before.mailbox.name) await refuseTakenName(ports.store, after.name, after.id);
  if (beginsToDelete(before.mailbox, after)) await requireOwnPassword(ports, request, toDelete);
  await ports.vault.refresh();
  const pending = { before, after, confirmed: confirmedParts(ports, before) };
  const changed = changedSettings(before.mailbox, after);
  const stored: Stored | FailedProbe =
    changed.length === 0
      ? { mailbox: after, probed: null }
      : await (after.grant === null
          ? changeByPassword(ports, pending, request)
          : changeByGrant(ports, pending, selected, request));
  if ('view' in stored) return { kind: 'probe_failed', probe: stored.view };
  const isAddressed = !isSame(addresses, before.mailbox.addresses);
  if (isAddressed) await ports.store.setAddresses(after.id, addresses, ports.actor);
  if (changed.length === 0 && !isAddressed)
    return refused('Nothing was changed: the mailbox has these settings already.');
  const words = [...changed, ...(isAddressed ? ['addresses'] : [])].join(', ').replace('on_success', 'afterwards');
  return await done(ports, stored, `is changed (${words})`);
}

async function newSignIn(
  ports: Ports,
  after: Mailbox,
  before: Mailbox,
  { sign_in: oauth, grant }: MailboxTexts,
): Promise<SelectedGrant | null | 'as_before'> {
  if (oauth === grantAsBefore && before.grant !== null) return 'as_before';
  if (oauth === passwordSignIn) return before.grant === null ? 'as_before' : null;
  const present = before.grant === null ? null : await ports.store.grantByName(before.grant);
  // A mailbox keeps the grant of this provider that it has, also one without a consent so far.
  if (before.grant !== null && (present === null || present.provider === oauth) && grant === before.grant)
    return 'as_before';
  return await selectGrant(ports, { oauth, ...(grant === '' ? {} : { grant }) }, after);
}

/** Another server takes the password again, whatever is stored. Without a change of it the stored one is probed. */
async function changeByPassword(
  ports: Ports,
  { before, after, confirmed }: MailboxChange,
  request: MailboxRequest,
): Promise<Stored | FailedProbe> {
  const isOther = before.mailbox.grant !== null || isOtherServer(before.mailbox.connection, after.connection);
  const isGiven = request.password !== null && request.password.length > 0;
  if (!isOther && !isGiven) {
    const isOtherFolder = before.mailbox.connection.folder !== after.connection.folder;
    const needsProbe = isOtherFolder || needsActionProbe(before.mailbox, after);
    const probed = needsProbe && request.isProbed ? await probeStored(ports, after) : null;
    if (probed?.report === null) return probed;
    await changeSettings(ports, { before, after, confirmed });
    return { mailbox: after, probed };
  }
  const password = requiredPassword(request, ': the stored one is never sent to another server');
  await refuseDoubtfulServer(ports, before, request);
  const probed = request.isProbed ? await probeWithPassword(ports, after, password) : null;
  if (probed?.report === null) return probed;
  const vouched = { connection: true, action: confirmed.action };
  await changeWithPassword(ports, { before, after, confirmed: vouched }, password, true);
  return { mailbox: after, probed };
}

async function changeByGrant(
  ports: Ports,
  pending: MailboxChange,
  selected: SelectedGrant | null | 'as_before',
  request: MailboxRequest,
): Promise<Stored | FailedProbe> {
  const { before, after } = pending;
  if (selected !== null && selected !== 'as_before')
    return await withSelectedGrant(ports, selected, after, request, () => changeSettings(ports, pending));
  const isSameFolder = isSame(before.mailbox.connection, after.connection);
  if (isSameFolder && !needsActionProbe(before.mailbox, after)) {
    await changeSettings(ports, pending);
    return { mailbox: after, probed: null };
  }
  if (!isSameFolder) await checkPresentGrant(ports, after);
  const probed = request.isProbed ? await probeStored(ports, after) : null;
  if (probed?.report === null) return probed;
  await changeSettings(ports, pending);
  return { mailbox: after, probed };
}

/** A new password is not sent to a server that nothing vouches for, unless the person does. Throws `refused`. */
async function refuseDoubtfulServer(
  ports: Ports,
  stored: VersionedMailbox,
  { acceptsServer }: MailboxRequest,
): Promise<void> {
  const doubt = await serverDoubt(ports, stored);
  if (doubt === null || acceptsServer) return;
  const hint = `Nothing was changed. ${doubt.question} If it is, tick the box and try again.`;
  throw new Failure('refused', doubt.statement.replace(/\.$/, ''), { hint });
}

async function setPassword(ports: Ports, shown: ShownMailbox, request: MailboxRequest): Promise<MailboxResult> {
  const stored = await shownRow(ports, shown);
  const { mailbox } = stored;
  refuseGrant(mailbox);
  const password = requiredPassword(request, '');
  await ports.vault.refresh();
  await refuseDoubtfulServer(ports, stored, request);
  const probed = request.isProbed ? await probeWithPassword(ports, mailbox, password) : null;
  if (probed?.report === null) return { kind: 'probe_failed', probe: probed.view };
  await replacePassword(ports, stored, password);
  const sentence = `The password of ${mailbox.name} is set: it is polled now.`;
  return { kind: 'done', name: mailbox.name, sentence, probe: probed?.view ?? null };
}

/** A person's grant that no other mailbox uses is revoked. */
async function remove(ports: Ports, shown: ShownMailbox, request: MailboxRequest): Promise<MailboxResult> {
  const { store } = ports;
  const { mailbox } = await shownRow(ports, shown);
  await requireOwnPassword(ports, request, 'removing a mailbox');
  await store.removeMailbox(mailbox.id, ports.actor);
  const note = mailbox.grant === null ? '' : await revokeUnused(ports, mailbox.grant);
  const sentence = `${mailbox.name} is removed. Its tickets stay.${note}`;
  return { kind: 'done', name: mailbox.name, sentence, probe: null };
}

/** What became of the grant, one sentence after a space; '' where it stays in use. */
async function revokeUnused({ store, vault, oauth, actor }: Ports, name: string): Promise<string> {
  const grant = await store.grantByName(name);
  if (grant?.flow !== 'person' || (await store.mailboxesOfGrant(name)).length > 0) return '';
  try {
    await vault.refresh();
    const { atProvider } = await oauth.revocations.revoke(name, actor, false);
    return atProvider === 'revoked' ? ' Its grant was revoked at the provider.' : ' Its grant was removed here.';
  } catch (error) {
    if (!isFailure(error)) throw error;
    return ` Its grant ${name} stays: ${error.message}.`;
  }
}
