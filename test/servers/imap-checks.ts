/**
 * The checks of one IMAP server: each works on folders of its own and returns the cell of the table, or throws with
 * what is wrong.
 *
 * A lack that the server announces (no MOVE, no UIDPLUS, no IDLE) is no fault: the cell says what happens instead.
 */
import { named } from '../support/processes/daemon.ts';
import { openClient } from '../support/servers/imap/imap-server.ts';
import { mainUser, oddPasswords, oddUser, users } from './accounts.ts';
import { addArguments, addMailbox, passwordInput, type Scene } from './mailboxes.ts';
import { type MatrixMessage, matrixMessages } from './messages.ts';
import { expectExact, failureCode, lastWords, type Polled, poll } from './program.ts';

export type ImapCheck = { readonly name: string; readonly run: (scene: Scene) => Promise<string> };

const messagesInInbox = 40;
const messagesInFolder = 4;

export const imapChecks: readonly ImapCheck[] = [
  { name: 'add', run: addInbox },
  { name: 'ingest', run: ingest },
  { name: 'attachments', run: attachments },
  { name: 'second poll', run: secondPoll },
  { name: 'seen', run: seen },
  { name: 'move', run: move },
  { name: 'delete', run: remove },
  { name: 'leave', run: leave },
  { name: 'folders', run: folders },
  { name: 'push', run: push },
  { name: 'TLS', run: tlsModes },
  { name: 'passwords', run: passwords },
  { name: 'UIDVALIDITY', run: uidValidity },
  { name: 'reconcile', run: reconcile },
];

async function addInbox(scene: Scene): Promise<string> {
  await scene.program.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  await addMailbox(scene, { name: 'inbox', onSuccess: 'seen' });
  return 'ok';
}

async function ingest(scene: Scene): Promise<string> {
  await put(scene, 'INBOX', matrixMessages('inbox', messagesInInbox));
  await expectOutcomes(scene, 'inbox', { ticket_opened: 35, reply_added: 5 });
  const { messages } = await expectExact(scene.program, scene.sent);
  return `${messages} of ${scene.sent.length}`;
}

async function attachments({ program, sent }: Scene): Promise<string> {
  const found = await expectExact(program, sent);
  const expected = sent.filter(({ attachmentSha256 }) => attachmentSha256 !== null).length;
  if (found.attachments !== expected) throw new Error(`${found.attachments} of ${expected} identical`);
  return `${found.attachments} of ${expected}`;
}

async function secondPoll(scene: Scene): Promise<string> {
  await expectOutcomes(scene, 'inbox', {});
  return 'nothing new';
}

async function seen({ client }: Scene): Promise<string> {
  const all = await client.flags('INBOX');
  const marked = [...all.values()].filter((flags) => flags.has('\\Seen')).length;
  if (marked !== messagesInInbox) throw new Error(`${marked} of ${messagesInInbox} are \\Seen`);
  return 'ok';
}

async function move(scene: Scene): Promise<string> {
  const { client, server } = scene;
  const target = `${server.prefix}Done`;
  await client.createFolder(target);
  const notes = await ingestFolder(scene, 'Move', `move:${target}`);
  const there = await client.flags(target);
  if (there.size !== messagesInFolder) throw new Error(`${there.size} of ${messagesInFolder} are in the target`);
  const remains = await leftIn(scene, 'Move');
  if (remains === 'marked') expectNote(notes);
  if (client.capabilities.has('MOVE')) return 'MOVE';
  return remains === 'gone' ? 'COPY, expunged' : 'COPY, \\Deleted';
}

async function remove(scene: Scene): Promise<string> {
  const notes = await ingestFolder(scene, 'Delete', 'delete');
  const remains = await leftIn(scene, 'Delete');
  if (remains === 'gone') return 'expunged';
  expectNote(notes);
  return '\\Deleted';
}

/** Without UIDPLUS no single message can be expunged: `mailbox add` says that it stays marked. */
function expectNote(notes: string): void {
  if (!notes.includes('UIDPLUS')) throw new Error('stays marked \\Deleted, and mailbox add does not say so');
}

async function leftIn({ client, server }: Scene, folder: string): Promise<'gone' | 'marked'> {
  const left = [...(await client.flags(`${server.prefix}${folder}`)).values()];
  if (left.length === 0) return 'gone';
  const isMarked = left.every((flags) => flags.has('\\Deleted'));
  if (isMarked && left.length === messagesInFolder && !client.capabilities.has('UIDPLUS')) return 'marked';
  throw new Error(`${left.length} messages are still there`);
}

async function leave(scene: Scene): Promise<string> {
  await ingestFolder(scene, 'Leave', 'leave');
  const left = [...(await scene.client.flags(`${scene.server.prefix}Leave`)).values()];
  const changed = left.filter((flags) => flags.has('\\Seen')).length;
  if (left.length !== messagesInFolder || changed > 0)
    throw new Error(`${left.length} left, ${changed} of them \\Seen`);
  return 'ok';
}

async function folders(scene: Scene): Promise<string> {
  for (const [index, folder] of ['Größe & Maß', 'Запросы-日本語'].entries())
    await ingestFolder(scene, folder, 'leave', `named-${index + 1}`);
  return scene.client.capabilities.has('UTF8=ACCEPT') ? 'UTF8=ACCEPT' : 'UTF-7';
}

async function tlsModes(scene: Scene): Promise<string> {
  const { server, program } = scene;
  await addMailbox(scene, { name: 'starttls', tls: 'starttls', since: 'now' });
  const wrong = [
    { name: 'wrong-1', tls: 'implicit', port: server.port },
    { name: 'wrong-2', tls: 'starttls', port: server.tlsPort },
  ] as const;
  const codes: string[] = [];
  for (const mailbox of wrong) {
    const ended = await program.attempt([...addArguments(scene, mailbox), '--json'], passwordInput(mainUser));
    const code = failureCode(ended);
    if (ended.code === 0 || code === null) throw new Error(`${mailbox.tls} at the other port: ${lastWords(ended)}`);
    codes.push(code);
  }
  return `both; else ${[...new Set(codes)].join(', ')}`;
}

/** A password that the server refuses to the plain client too is not counted against the program. */
async function passwords(scene: Scene): Promise<string> {
  const refused: string[] = [];
  let accepted = 0;
  for (const [index, password] of oddPasswords.entries()) {
    const user = oddUser(index);
    const mailbox = { name: `odd-${index + 1}`, user, since: 'now' } as const;
    const ended = await scene.program.attempt([...addArguments(scene, mailbox), '--json'], passwordInput(user));
    if (ended.code === 0) accepted += 1;
    else if (await canLogIn(scene, user)) refused.push(`${JSON.stringify(password)} ${failureCode(ended)}`);
  }
  const wrong = addArguments(scene, { name: 'wrong-password', user: oddUser(0) });
  const ended = await scene.program.attempt([...wrong, '--json'], 'another\n');
  if (failureCode(ended) !== 'login_refused') throw new Error(`a wrong password: ${lastWords(ended)}`);
  const { length } = oddPasswords;
  if (refused.length > 0) throw new Error(`${accepted} of ${length}; not ${refused.join(', ')}`);
  return accepted === length ? `${length} of ${length}` : `${accepted} of ${length}: it takes no more`;
}

async function canLogIn({ server }: Scene, user: string): Promise<boolean> {
  try {
    await using _client = await openClient(server, users, user);
    return true;
  } catch {
    return false;
  }
}

/** Longer than an announcement takes; a message that comes right after a poll waits this long without one. */
const pollIntervalS = 8;
const announcedMsMax = 2_000;

/** Two messages, one right after the other: of two that come by polls alone, the second waits for the interval. */
async function push(scene: Scene): Promise<string> {
  const canIdle = scene.client.capabilities.has('IDLE');
  await using daemon = scene.program.start({
    TICKETMAILD_POLL_INTERVAL_S: `${pollIntervalS}`,
    TICKETMAILD_IDLE_CONNECTIONS_PER_HOST_MAX: '20',
    TICKETMAILD_LOG_LEVEL: 'debug',
  });
  const isOfInbox = (line: { readonly mailbox?: unknown }): boolean => line.mailbox === 'inbox';
  const started = canIdle ? named('idle.started') : named('poll.empty');
  await daemon.waitFor((line) => started(line) && isOfInbox(line));
  const waitedMs: number[] = [];
  for (const [index, message] of matrixMessages('push', 2).entries()) {
    const sentMs = performance.now();
    await put(scene, 'INBOX', [message]);
    const handled = () => daemon.lines.filter((line) => named('message.ticket_opened')(line) && isOfInbox(line));
    await daemon.waitFor(() => handled().length > index, pollIntervalS * 3_000);
    waitedMs.push(performance.now() - sentMs);
  }
  daemon.signal('SIGTERM');
  const { code } = await daemon.exit;
  if (code !== 0) throw new Error(`the daemon ended with ${code}`);
  if (!canIdle) return 'no IDLE: polled';
  const longestMs = Math.max(...waitedMs);
  return longestMs > announcedMsMax ? 'IDLE is silent: polled' : `IDLE, ${(longestMs / 1_000).toFixed(2)} s`;
}

async function uidValidity(scene: Scene): Promise<string> {
  const { client, server } = scene;
  const folder = `${server.prefix}Renewed`;
  await ingestFolder(scene, 'Renewed', 'leave');
  const before = await client.uidValidity(folder);
  await client.renameFolder(folder, `${server.prefix}Former`);
  await client.createFolder(folder);
  const after = await client.uidValidity(folder);
  if (before === after) return 'not changed by the server';
  await client.append(
    folder,
    matrixMessages('Renewed', messagesInFolder).map(({ bytes }) => bytes),
  );
  await put(scene, folder, matrixMessages('Renewed-later', 1));
  await expectOutcomes(scene, 'Renewed', { duplicate: messagesInFolder, ticket_opened: 1 });
  return '0 doubled';
}

async function reconcile({ program, sent }: Scene): Promise<string> {
  await expectExact(program, sent);
  for (const name of ['inbox', 'Leave', 'Renewed']) await program.run(['reconcile', name]);
  await program.run(['reconcile', '--files']);
  return 'all accounted for';
}

/** A folder with messages of its own and a mailbox on it, polled; what `mailbox add` printed. */
async function ingestFolder(scene: Scene, folder: string, onSuccess: string, name = folder): Promise<string> {
  const path = `${scene.server.prefix}${folder}`;
  await scene.client.createFolder(path);
  await put(scene, path, matrixMessages(name, messagesInFolder));
  const added = await scene.program.attempt(
    addArguments(scene, { name, folder: path, onSuccess }),
    passwordInput(mainUser),
  );
  if (added.code !== 0) throw new Error(`mailbox add: ${lastWords(added)}`);
  await expectOutcomes(scene, name, { ticket_opened: messagesInFolder - 1, reply_added: 1 });
  return added.stdout + added.stderr;
}

async function put({ client, sent }: Scene, folder: string, messages: readonly MatrixMessage[]): Promise<void> {
  await client.append(
    folder,
    messages.map(({ bytes }) => bytes),
  );
  sent.push(...messages);
}

async function expectOutcomes({ program }: Scene, name: string, expected: Polled['outcomes']): Promise<void> {
  const [polled] = await poll(program, name);
  const found = Object.fromEntries(Object.entries(polled?.outcomes ?? {}).filter(([, count]) => count > 0));
  const [is, shall] = [found, expected].map((outcomes) => JSON.stringify(Object.entries(outcomes).toSorted()));
  if (is !== shall) throw new Error(`poll of ${name}: ${is} instead of ${shall}`);
}
