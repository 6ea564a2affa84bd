/**
 * `npm run demo [-- --once]`: the whole daemon on this machine, with nothing installed and nothing left behind.
 *
 * Starts an IMAP server in this process with a few messages in it, configures the daemon with SQLite in a temporary
 * folder, adds the mailbox through the daemon's own command line, runs the daemon and shows what it makes of the
 * messages. Continues until Ctrl-C, then ends the daemon in order and removes the folder; a second Ctrl-C forces it.
 * `--once` ends once the message that arrives in the middle is a ticket. Exit code 1 when anything fails, with
 * whatever the failing command printed; 2 for a wrong option.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, styleText } from 'node:util';
import { nameProgram, programName } from '../../src/text/program-name.ts';
import { runMeasured } from '../support/processes/child.ts';
import { freePort } from '../support/servers/programs.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { type ListedMessage, messageLines } from './lines.ts';
import { type DemoMailServer, startMailServer } from './mail-server.ts';
import { arrivingMail, waitingMessages } from './messages.ts';
import { stopSignal } from './stop-signals.ts';

const mailbox = 'demo';
const arrivalAfterMs = 3_000;
const mainFile = fileURLToPath(new URL('../../src/ticketmaild.js', import.meta.url));

type Settings = { readonly configFile: string; readonly healthAddress: string; readonly adminAddress: string };

/** Whatever ends it, the daemon is stopped in order and nothing stays behind. */
async function demo(once: boolean, stop: AbortSignal): Promise<void> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await temporaryFolder('demo'));
  const messages = waitingMessages(Date.now());
  const mailServer = undo.use(await startMailServer(messages));
  say(
    `A mail server of the demo listens at ${mailServer.host}:${mailServer.port}; ${messages.length} messages wait in it.`,
  );
  try {
    const settings = await writeSettings(folder.path);
    await addMailbox(mailServer, settings);
    const daemon = undo.use(startDaemon(mainFile, settings.configFile, (line) => say(`daemon: ${line}`)));
    undo.defer(() => say('\nEnding the daemon and removing its folder.'));
    await story({ once, waiting: messages.length, mailServer, settings, daemon, stop });
  } catch (error) {
    // After a Ctrl-C it is the Ctrl-C that broke off whatever continued.
    if (!stop.aborted) throw error;
  }
}

type Scene = {
  readonly once: boolean;
  readonly waiting: number;
  readonly mailServer: DemoMailServer;
  readonly settings: Settings;
  readonly daemon: Daemon;
  readonly stop: AbortSignal;
};

/** Ends when `stop` is aborted, or, with `once`, after the message that arrives in the middle. */
async function story({ once, waiting, mailServer, settings, daemon, stop }: Scene): Promise<void> {
  const showUntil = messageDisplay(daemon, settings, stop);
  say(heading('\nTickets'));
  const [first] = await showUntil(waiting);
  // With --once they are gone before anyone can use them.
  if (!once) {
    say(`\nHealth: ${settings.healthAddress}/readyz\nAdmin page: ${settings.adminAddress}`);
    say(nextCommands(first?.ticket ?? 'REF', settings.configFile));
  }
  await sleep(arrivalAfterMs, undefined, { signal: stop });
  say(heading('Another mail arrives'));
  mailServer.deliver(arrivingMail(Date.now()));
  await showUntil(waiting + 1);
  if (once) return;
  say('\nThe daemon continues. Ctrl-C ends it.');
  await showUntil(Number.POSITIVE_INFINITY);
}

async function writeSettings(folder: string): Promise<Settings> {
  const [listen, adminListen] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const configFile = join(folder, 'ticketmaild.toml');
  const lines = [
    `data_dir = ${JSON.stringify(join(folder, 'data'))}`,
    '[database]',
    `url = ${JSON.stringify(`sqlite:${join(folder, 'tickets.db')}`)}`,
    '[http]',
    `listen = ${JSON.stringify(listen)}`,
    '[admin]',
    `listen = ${JSON.stringify(adminListen)}`,
  ];
  await writeFile(configFile, `${lines.join('\n')}\n`);
  return { configFile, healthAddress: `http://${listen}`, adminAddress: `http://${adminListen}/admin` };
}

async function addMailbox(server: DemoMailServer, settings: Settings): Promise<void> {
  const place = ['--host', server.host, '--port', String(server.port), '--tls', 'none', '--user', server.user];
  const behaviour = ['--since', 'all', '--interval', '2', '--password-stdin'];
  const args = ['mailbox', 'add', '--name', mailbox, ...place, ...behaviour, '--config', settings.configFile];
  await runMeasured([mainFile, ...args], { input: `${server.password}\n` });
}

type ShowUntil = (count: number) => Promise<readonly ListedMessage[]>;

/** Shows every message once, as the daemon stores it; `showUntil` resolves when that many were shown. */
function messageDisplay(daemon: Daemon, settings: Settings, stop: AbortSignal): ShowUntil {
  const shown = new Map<number, ListedMessage>();
  return async (count) => {
    while (shown.size < count) {
      await daemon.changed(stop);
      const listed = await listMessages(settings);
      for (const message of listed.filter(({ uid }) => !shown.has(uid))) {
        shown.set(message.uid, message);
        for (const line of messageLines(message, process.stdout.columns)) say(line);
      }
    }
    return [...shown.values()];
  };
}

async function listMessages({ configFile }: Settings): Promise<readonly ListedMessage[]> {
  const args = ['message', 'list', '--mailbox', mailbox, '--full', '--json', '--config', configFile];
  const { stdout } = await runMeasured([mainFile, ...args]);
  const lines = stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as ListedMessage);
}

function nextCommands(ref: string, configFile: string): string {
  const commands = [
    'ticket list',
    `ticket show ${ref}`,
    'mailbox list',
    `message list --mailbox ${mailbox}`,
    'check',
    'admin add ada',
  ];
  const lines = [
    `export TICKETMAILD_CONFIG=${configFile}`,
    ...commands.map((command) => `${programName()} ${command}`),
  ];
  return ['Try in a second terminal, in this folder:', ...lines.map((line) => `  ${line}`), ''].join('\n');
}

function heading(text: string): string {
  return styleText('bold', text, { stream: process.stdout });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Throws a TypeError with one sentence for a wrong option. */
function readOptions(args: readonly string[]): { readonly once: boolean } {
  const options = { once: { type: 'boolean', default: false } } as const;
  return parseArgs({ args: [...args], options }).values;
}

/** The exit code. */
async function main(args: readonly string[]): Promise<number> {
  let options: { readonly once: boolean };
  try {
    options = readOptions(args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`${error.message}\nusage: npm run demo [-- --once]\n`);
    return 2;
  }
  // Lines of the daemon, its page and the next commands show it.
  nameProgram('src/ticketmaild');
  using stop = stopSignal(() => process.exit(1));
  await demo(options.once, stop);
  return 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
