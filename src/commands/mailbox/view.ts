/**
 * `mailbox list` and `mailbox show`: settings and sign-in method from the database, and the verdict on each mailbox.
 *
 * They never print a password or its length.
 */

import { postActionText } from '../../admin/mailboxes/post-actions.ts';
import type { App } from '../../compose/compose.ts';
import { urlHost } from '../../config/machine.ts';
import { uidValidityOf } from '../../ingest/folder-epoch.ts';
import { pushText } from '../../ingest/health/push.ts';
import { type Connection, isInvalid, type Mailbox, type MailboxHealth } from '../../ingest/model.ts';
import { withMailboxName } from '../../text/hints.ts';
import { asRunHere } from '../../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { isoTime, shortTime } from '../../text/time.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { noMailbox } from '../help/suggestion.ts';
import { conditionWords } from '../oauth/grants.ts';
import { printList, printResult, type TableColumn } from '../output.ts';
import { readSignIns, remedyLines, type SignIn, type SignIns, signInJson, signInText } from './sign-in-view.ts';
import { readVerdicts, type Verdict, type Verdicts } from './verdicts.ts';

type MailboxWithHealth = Mailbox & { readonly health: MailboxHealth };

/** The object that `--json` prints. Times are ISO 8601 in UTC. */
export function mailboxJson(
  mailbox: MailboxWithHealth,
  isUnconfirmed: boolean,
  verdict: Verdict | null,
  signIn: SignIn | null = null,
): Record<string, unknown> {
  const { health } = mailbox;
  return {
    ...settingsJson(mailbox),
    ...signInJson(signIn),
    status: verdict?.status ?? null,
    status_since: verdict?.since ?? null,
    status_code: verdict?.code ?? null,
    push: verdict?.push ?? null,
    post_action_waits: isUnconfirmed,
    password_form: health.password.form,
    password_key_id: health.password.keyId,
    next_poll_at: isoTime(health.nextPollAtMs),
    failures: health.failures,
    login_failures: health.loginFailures,
    last_success_at: isoTime(health.lastSuccessAtMs),
    last_error: errorJson(health.lastError),
    cursor:
      health.cursor === null
        ? null
        : { uid_validity: uidValidityOf(health.cursor.folderEpoch), uid: health.cursor.uid },
  };
}

/** A setting that is missing here does not compile. */
function settingsJson({ connection, start, postAction, pollIntervalMs, ...mailbox }: Mailbox): Record<string, unknown> {
  const fields = {
    id: ['id', mailbox.id],
    name: ['name', mailbox.name],
    state: ['state', mailbox.state],
    host: ['host', connection.host],
    port: ['port', connection.port],
    tls: ['tls', connection.tls],
    caPem: ['ca_pem', connection.caPem],
    fingerprint: ['fingerprint', connection.fingerprint],
    allowPlaintext: ['allow_plaintext', connection.allowPlaintext],
    user: ['user', connection.user],
    folder: ['folder', connection.folder],
    grant: ['grant', mailbox.grant],
    addresses: ['addresses', mailbox.addresses],
    start: ['since', start.from === 'all' ? 'all' : isoTime(start.atMs)],
    postAction: ['on_success', postActionText(postAction)],
    pollIntervalMs: ['interval_s', pollIntervalMs === null ? null : pollIntervalMs / 1000],
  } satisfies Record<Exclude<keyof Mailbox, 'connection'> | keyof Connection, readonly [name: string, value: unknown]>;
  return Object.fromEntries(Object.values(fields));
}

function errorJson(error: MailboxHealth['lastError']): Record<string, unknown> | null {
  if (error === null) return null;
  return { code: error.code, message: error.message, hint: error.hint, at: isoTime(error.atMs) };
}

type StateFacts = Verdicts & {
  readonly signIns: SignIns;
  readonly loginFailuresMax: number;
  readonly isUnconfirmed: (mailbox: MailboxWithHealth) => boolean;
};

/** One or two words on the health of the mailbox. */
function stateText(mailbox: MailboxWithHealth, facts: StateFacts): string {
  const { availableIds, loginFailuresMax } = facts;
  const { state, health } = mailbox;
  if (isInvalid(mailbox)) return 'invalid';
  if (state !== 'active') return state;
  if (lacksKey(health, availableIds)) return 'waiting';
  const signIn = facts.signIns(mailbox);
  if (signIn !== null && signIn.description.why !== null) return conditionWords[signIn.description.condition];
  if (health.lastError?.code === 'login_refused' && health.loginFailures >= loginFailuresMax) return 'suspended';
  if (facts.verdictOf(mailbox)?.status === 'failing')
    return health.failures > 0 ? `failing (${health.failures})` : 'failing';
  if (facts.isUnconfirmed(mailbox)) return 'unconfirmed';
  return health.lastSuccessAtMs === null ? 'new' : 'ok';
}

/** `user at host:port, folder`. */
export function locationText({ connection }: Pick<Mailbox, 'connection'>): string {
  return `${connection.user} at ${urlHost(connection.host)}:${connection.port}, ${connection.folder}`;
}

function columns(facts: StateFacts): readonly TableColumn<MailboxWithHealth>[] {
  return [
    { title: 'NAME', shrinks: true, main: true, cell: ({ name }) => name },
    { title: 'STATE', cell: (mailbox) => stateText(mailbox, facts) },
    { title: 'LAST SUCCESS (UTC)', cell: ({ health }) => shortTime(health.lastSuccessAtMs) },
    { title: 'PROBLEM', shrinks: true, cell: (mailbox) => problemText(mailbox, facts) },
    { title: 'PUSH', drops: 3, cell: (mailbox) => facts.verdictOf(mailbox)?.push?.state ?? '' },
    { title: 'SIGN-IN', shrinks: true, drops: 2, cell: (mailbox) => signInText(mailbox, facts.signIns) },
    { title: 'WHERE', shrinks: true, drops: 1, cell: locationText },
  ];
}

export async function listMailboxes(options: CommonOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app, config) => {
    const mailboxes = await app.store.listMailboxes();
    const whenEmpty = 'There is no mailbox yet: add one with ticketmaild mailbox add.';
    const isUnconfirmed = unconfirmedIn(app);
    const signIns = await readSignIns(app, mailboxes);
    const { loginFailuresMax } = config.poll;
    const verdicts = await readVerdicts(app, mailboxes, { dataDir: config.dataDir, loginFailuresMax }, context);
    const facts = { ...verdicts, loginFailuresMax, isUnconfirmed, signIns };
    const json = (mailbox: MailboxWithHealth) =>
      mailboxJson(mailbox, isUnconfirmed(mailbox), verdicts.verdictOf(mailbox), signIns(mailbox));
    const view = { columns: columns(facts), json, whenEmpty };
    await printList(mailboxes, view, options, context);
    if (options.json !== true)
      for (const line of remedyLines(mailboxes, signIns)) await context.terminal.line(line, 'yellow');
    return 0;
  });
}

function lacksKey({ password: { form, keyId } }: MailboxHealth, availableIds: ReadonlySet<string>): boolean {
  return form === 'sealed' && keyId !== null && !availableIds.has(keyId);
}

function problemText(mailbox: MailboxWithHealth, facts: StateFacts): string {
  const { availableIds, isUnconfirmed, signIns } = facts;
  const { health, postAction } = mailbox;
  if (lacksKey(health, availableIds)) return 'waits for its key';
  const signIn = signIns(mailbox);
  if (signIn !== null && signIn.description.why !== null)
    return signIn.grant?.errorCode ?? signIn.description.condition;
  const verdict = facts.verdictOf(mailbox);
  if (verdict?.status === 'failing') return verdict.code ?? '';
  if (verdict === null && health.failures > 0) return health.lastError?.code ?? '';
  return isUnconfirmed(mailbox) ? `${postAction.kind} waits` : '';
}

function unconfirmedIn({ confirmations }: App): StateFacts['isUnconfirmed'] {
  return (mailbox) => !isInvalid(mailbox) && confirmations.isUnconfirmed(mailbox, mailbox.health.settingsSeal);
}

/** Throws `not_found`. */
export async function showMailbox(options: CommonOptions & { name: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app, { dataDir, poll: { loginFailuresMax } }) => {
    const mailboxes = await app.store.listMailboxes();
    const mailbox = mailboxes.find(({ name }) => name === options.name) ?? noMailbox(options.name);
    const { verdictOf } = await readVerdicts(app, mailboxes, { dataDir, loginFailuresMax }, context);
    const isUnconfirmed = unconfirmedIn(app)(mailbox);
    const signIn = (await readSignIns(app, mailboxes))(mailbox);
    const verdict = verdictOf(mailbox);
    const fields = mailboxJson(mailbox, isUnconfirmed, verdict, signIn);
    const push = verdict === null || verdict.push === null ? null : pushText(verdict.push, context.nowMs());
    await printResult(options, context, fields, detailLines(mailbox, { ...fields, push }, isUnconfirmed, signIn));
    return 0;
  });
}

function detailLines(
  mailbox: MailboxWithHealth,
  fields: Record<string, unknown>,
  isUnconfirmed: boolean,
  signIn: SignIn | null,
): readonly string[] {
  const { ca_pem: ca, last_error: _, cursor: __, post_action_waits: ___, ...values } = fields;
  const { cursor, lastError } = mailbox.health;
  const extra: Record<string, unknown> = {
    ca_file: ca === null ? null : 'stored',
    cursor: cursor === null ? null : `UID ${cursor.uid} in UIDVALIDITY ${uidValidityOf(cursor.folderEpoch)}`,
    last_error: lastError === null ? null : `${lastError.code} at ${shortTime(lastError.atMs)}: ${lastError.message}`,
    hint: lastError === null ? null : asRunHere(withMailboxName(lastError.hint, mailbox.name)),
    ...(signIn === null ? {} : { grant_remedy: signIn.description.remedy && asRunHere(signIn.description.remedy) }),
    ...(mailbox.grant === null ? {} : { password_form: null, password_key_id: null }),
    unconfirmed: isUnconfirmed
      ? `${mailbox.postAction.kind} waits; ${asRunHere(commandOrNotice(shellCommand('mailbox confirm', mailbox.name)))}`
      : null,
  };
  return Object.entries({ ...values, ...extra })
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key.replaceAll('_', ' ').padEnd(16)} ${value}`);
}
