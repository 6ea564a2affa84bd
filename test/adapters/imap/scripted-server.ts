/**
 * Scripted IMAP server, for behaviour that no real server here shows.
 *
 * Implements a login, a SELECT and a UID SEARCH; `script` may respond to any command first. Records all client lines.
 */
import { createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export type Talk = {
  /** Writes lines as they are, each with CRLF. */
  say(...lines: string[]): void;
  /** Hands the next line to `take` instead of reading it as a command. */
  next(take: (line: string) => void): void;
  readonly socket: Duplex;
};

/** Returns false when the usual answer is to be given. `command` is upper case, `rest` what follows it. */
export type Script = (command: string, rest: string, tag: string, talk: Talk) => boolean;

export type ScriptedServer = { readonly port: number; readonly lines: readonly string[] } & AsyncDisposable;

/** `uidNext`: one more than `exists` when left out. */
export type ScriptedOptions = {
  greeting?: string;
  capabilities?: string;
  exists?: number;
  uidNext?: number;
  script?: Script;
};

/** UIDs up to UIDNEXT, without gaps at the end; `n:*` has the last one in any case (RFC 9051 section 9). */
function uidsOf({ exists, uidNext }: Required<ScriptedOptions>, criteria: string): readonly number[] {
  const [, from = '1', to = '*'] = /UID (\d+):(\d+|\*)/.exec(criteria) ?? [];
  const last = uidNext - 1;
  const first = to === '*' ? Math.min(Number(from), last) : Number(from);
  const uids = Array.from({ length: Math.min(exists, last) }, (_, at) => last - at).reverse();
  return uids.filter((uid) => uid >= first && (to === '*' || uid <= Number(to)));
}

function usual(
  options: Required<ScriptedOptions>,
  command: string,
  rest: string,
  tag: string,
  { say, next }: Talk,
): void {
  if (command === 'CAPABILITY') say(`* CAPABILITY ${options.capabilities}`);
  if (command === 'LIST') say(rest === '"" ""' ? '* LIST (\\Noselect) "/" ""' : '* LIST () "/" INBOX');
  if (command === 'SELECT' || command === 'EXAMINE')
    say(`* ${options.exists} EXISTS`, '* OK [UIDVALIDITY 7] yes', `* OK [UIDNEXT ${options.uidNext}] yes`);
  if (command === 'UID SEARCH')
    say(
      `* SEARCH${uidsOf(options, rest)
        .map((uid) => ` ${uid}`)
        .join('')}`,
    );
  if (command === 'LOGOUT') say('* BYE');
  if (command === 'AUTHENTICATE') {
    say('+ ');
    next(() => say(`${tag} OK`));
  } else say(`${tag} OK done`);
}

/** Speaks over one stream, which may be a TLS socket. */
export function converse(stream: Duplex, given: ScriptedOptions, lines: string[]): void {
  const exists = given.exists ?? 3;
  const defaults = { greeting: '* OK ready', capabilities: 'IMAP4rev1 AUTH=PLAIN', exists, script: () => false };
  const options = { ...defaults, uidNext: exists + 1, ...given };
  let rest = '';
  let taker: ((line: string) => void) | null = null;
  const talk: Talk = {
    say: (...out) => void (stream.destroyed || stream.write(out.map((line) => `${line}\r\n`).join(''))),
    next: (take) => {
      taker = take;
    },
    socket: stream,
  };
  const read = (line: string): void => {
    lines.push(line);
    const take = taker;
    taker = null;
    if (take !== null) {
      take(line);
      return;
    }
    const [tag = '', first = '', second = ''] = line.split(' ');
    const command = (first.toUpperCase() === 'UID' ? `UID ${second}` : first).toUpperCase();
    const after = line.slice(tag.length + 1 + command.length + 1);
    if (!options.script(command, after, tag, talk)) usual(options, command, after, tag, talk);
  };
  stream.on('error', () => stream.destroy());
  stream.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString('latin1')).split('\r\n');
    rest = parts.pop() ?? '';
    for (const line of parts) read(line);
  });
  if (options.greeting !== '') talk.say(options.greeting);
}

/** Starts one on a free port of this machine; `take` gets the bare socket instead when given. */
export async function startScriptedServer(
  options: ScriptedOptions = {},
  take?: (socket: Socket, lines: string[]) => void,
): Promise<ScriptedServer> {
  const lines: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay();
    if (take === undefined) converse(socket, options, lines);
    else take(socket, lines);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    port: address.port,
    lines,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
