/**
 * A plain IMAP4rev1 client (RFC 3501) over TLS for what tests do behind the program's back: folders, APPEND, FETCH,
 * flags. None of the product's code, and no extension that the server may lack: literals are synchronising.
 *
 * One command at a time. A NO or BAD throws with the command and the answer; a silent server after 30 s.
 */
import { connect, type TLSSocket } from 'node:tls';
import { modifiedUtf7 } from './modified-utf7.ts';

export type ImapLogin = {
  readonly host: string;
  readonly tlsPort: number;
  readonly caPem: string;
  readonly user: string;
  readonly password: string;
};

export type ImapClient = {
  /** After the login, upper case. */
  readonly capabilities: ReadonlySet<string>;
  createFolder(folder: string): Promise<void>;
  renameFolder(from: string, to: string): Promise<void>;
  append(folder: string, messages: readonly Uint8Array[]): Promise<void>;
  /** Flags by UID, `\Recent` left out, as EXAMINE shows them. */
  flags(folder: string): Promise<ReadonlyMap<number, ReadonlySet<string>>>;
  /** The sources of all messages, by UID. */
  read(folder: string): Promise<readonly Buffer[]>;
  uidValidity(folder: string): Promise<number>;
  /** Deletes every message. */
  empty(folder: string): Promise<void>;
} & AsyncDisposable;

/** A response with its literals, for which the text has `{n}`. */
type Response = { readonly text: string; readonly literals: readonly Buffer[] };

type Wire = {
  next(): Promise<Response>;
  write(bytes: string | Uint8Array): void;
  end(): void;
};

/** A piece of a command: text as it is, bytes as a literal. */
type Piece = string | Uint8Array;
type Run = (...pieces: readonly Piece[]) => Promise<readonly Response[]>;

const silenceMsMax = 30_000;

/** Connects and logs in. */
export async function openImapClient({ host, tlsPort, caPem, user, password }: ImapLogin): Promise<ImapClient> {
  const wire = await openWire(connect({ host, port: tlsPort, ca: caPem, servername: host }));
  const run = commands(wire);
  await wire.next();
  await run(`LOGIN ${quoted(user)} `, Buffer.from(password));
  const capability = (await run('CAPABILITY')).map(({ text }) => /^\* CAPABILITY (.*)$/i.exec(text)?.[1] ?? '');
  return {
    capabilities: new Set(capability.join(' ').toUpperCase().split(' ')),
    createFolder: async (folder) => void (await run(`CREATE ${named(folder)}`)),
    renameFolder: async (from, to) => void (await run(`RENAME ${named(from)} ${named(to)}`)),
    append: async (folder, messages) => {
      for (const message of messages) await run(`APPEND ${named(folder)} `, message);
    },
    flags: async (folder) => await listFlags(run, folder),
    read: async (folder) => {
      if ((await examine(run, folder)) === 0) return [];
      const fetched = await run('UID FETCH 1:* (UID BODY.PEEK[])');
      return fetched.flatMap(({ text, literals }) => (/^\* \d+ FETCH /i.test(text) ? literals.slice(0, 1) : []));
    },
    uidValidity: async (folder) => {
      const [status] = await run(`STATUS ${named(folder)} (UIDVALIDITY)`);
      return Number(/UIDVALIDITY (\d+)/i.exec(status?.text ?? '')?.[1]);
    },
    empty: async (folder) => {
      const exists = existsIn(await run(`SELECT ${named(folder)}`));
      if (exists > 0) await run('STORE 1:* +FLAGS (\\Deleted)');
      await run('EXPUNGE');
    },
    [Symbol.asyncDispose]: async () => wire.end(),
  };
}

async function listFlags(run: Run, folder: string): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
  if ((await examine(run, folder)) === 0) return new Map();
  const found = new Map<number, ReadonlySet<string>>();
  for (const { text } of await run('UID FETCH 1:* (UID FLAGS)')) {
    const [uid, flags] = [/\bUID (\d+)/i.exec(text)?.[1], /FLAGS \(([^)]*)\)/i.exec(text)?.[1]];
    if (uid === undefined || flags === undefined) continue;
    found.set(Number(uid), new Set(flags.split(' ').filter((flag) => flag !== '' && flag !== '\\Recent')));
  }
  return found;
}

/** How many messages there are. */
async function examine(run: Run, folder: string): Promise<number> {
  return existsIn(await run(`EXAMINE ${named(folder)}`));
}

function existsIn(responses: readonly Response[]): number {
  return Number(responses.map(({ text }) => /^\* (\d+) EXISTS/i.exec(text)?.[1]).find((count) => count !== undefined));
}

function named(folder: string): string {
  return quoted(modifiedUtf7(folder));
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}

function commands(wire: Wire): Run {
  let count = 0;
  return async (...pieces) => {
    count += 1;
    const tag = `T${count}`;
    wire.write(`${tag} `);
    const untagged: Response[] = [];
    for (const piece of pieces) {
      if (typeof piece === 'string') {
        wire.write(piece);
        continue;
      }
      wire.write(`{${piece.length}}\r\n`);
      await continued(wire, tag, untagged, pieces);
      wire.write(piece);
    }
    wire.write('\r\n');
    for (;;) {
      const response = await wire.next();
      if (response.text.startsWith(`${tag} OK`)) return untagged;
      if (response.text.startsWith(`${tag} `)) throw refusal(pieces, response);
      untagged.push(response);
    }
  };
}

/** Until the server asks for a literal. */
async function continued(wire: Wire, tag: string, untagged: Response[], pieces: readonly Piece[]): Promise<void> {
  for (;;) {
    const response = await wire.next();
    if (response.text.startsWith('+')) return;
    if (response.text.startsWith(`${tag} `)) throw refusal(pieces, response);
    untagged.push(response);
  }
}

function refusal(pieces: readonly Piece[], { text }: Response): Error {
  const [command] = pieces;
  return new Error(`${typeof command === 'string' ? command.split(' ').slice(0, 3).join(' ') : ''}: ${text}`);
}

/** Responses in their order, from a socket that is connected. */
async function openWire(socket: TLSSocket): Promise<Wire> {
  let unread: Buffer = Buffer.alloc(0);
  let failure: Error | null = null;
  let wake = (): void => undefined;
  const fail = (error: Error): void => {
    failure ??= error;
    wake();
  };
  socket.on('data', (piece: Buffer) => {
    unread = Buffer.concat([unread, piece]);
    wake();
  });
  socket.once('error', fail);
  socket.once('close', () => fail(new Error('the IMAP server closed the connection')));
  const changed = async (): Promise<void> => {
    const silent = (): void => fail(new Error(`the IMAP server is silent for ${silenceMsMax} ms`));
    const timer = setTimeout(silent, silenceMsMax);
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
    clearTimeout(timer);
  };
  return {
    next: async () => {
      for (;;) {
        const taken = takeResponse(unread);
        if (taken !== null) {
          unread = unread.subarray(taken.length);
          return taken.response;
        }
        if (failure !== null) throw failure;
        await changed();
      }
    },
    write: (bytes) => void socket.write(bytes),
    end: () => void socket.destroy(),
  };
}

/** The first whole response of what has arrived; null: there is none yet. */
function takeResponse(bytes: Buffer): { readonly response: Response; readonly length: number } | null {
  const literals: Buffer[] = [];
  let text = '';
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    if (end === -1) return null;
    const line = bytes.toString('utf8', at, end);
    text += line;
    at = end + 2;
    const size = /\{(\d+)\}$/.exec(line)?.[1];
    if (size === undefined) return { response: { text, literals }, length: at };
    if (bytes.length < at + Number(size)) return null;
    literals.push(bytes.subarray(at, at + Number(size)));
    at += Number(size);
  }
}
