/**
 * An IMAP client of a few lines, in clear, for measurements: it logs in, appends a message, and waits for
 * announcements.
 *
 * Throws when the server refuses, or the connection ends.
 */
import { connect } from 'node:net';
import { existing, linesOfImap } from './lines-of-imap.ts';

export type BareImap = {
  /** Selects INBOX and waits in IDLE (RFC 2177) from then on; resolves once the server waits, too. */
  idle(): Promise<void>;
  /** Resolves when the server announces that INBOX holds so many messages. */
  announced(count: number): Promise<void>;
  /** Puts a message, with CRLF line ends, into INBOX; resolves when the server has it. */
  append(mail: Uint8Array): Promise<void>;
} & Disposable;

type Wanted = {
  readonly line: (text: string) => boolean;
  readonly resolve: (text: string) => void;
  readonly reject: (error: Error) => void;
};

export async function openBareImap(
  port: number,
  { user, password }: { readonly user: string; readonly password: string },
): Promise<BareImap> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  const wanted = new Set<Wanted>();
  let exists = 0;
  const lines = linesOfImap((text) => {
    exists = existing(text) ?? exists;
    for (const one of wanted) {
      if (!one.line(text)) continue;
      wanted.delete(one);
      one.resolve(text);
    }
  });
  socket.on('data', lines);
  const fail = (): void => {
    for (const { reject } of wanted) reject(new Error('the mail server closed the connection'));
    wanted.clear();
  };
  socket.on('error', fail).on('close', fail);
  const line = (isWanted: Wanted['line']) =>
    new Promise<string>((resolve, reject) => wanted.add({ line: isWanted, resolve, reject }));
  let tag = 0;
  const command = async (text: string, continuation?: Uint8Array): Promise<void> => {
    tag += 1;
    const begin = `a${tag} `;
    const answer = line((one) => one.startsWith(begin));
    const goOn = continuation === undefined ? null : line((one) => one.startsWith('+'));
    socket.write(`${begin}${text}\r\n`);
    if (goOn !== null) {
      await goOn;
      socket.write(continuation ?? '');
      socket.write('\r\n');
    }
    const status = await answer;
    if (!status.startsWith(`${begin}OK`)) throw new Error(`${text.split(' ')[0]}: ${status}`);
  };
  await line((one) => one.startsWith('* OK'));
  await command(`LOGIN "${user}" "${password}"`);
  return {
    idle: async () => {
      await command('SELECT INBOX');
      const waits = line((one) => one.startsWith('+'));
      socket.write('idle IDLE\r\n');
      await waits;
    },
    announced: async (count) => {
      if (exists < count) await line((one) => (existing(one) ?? 0) >= count);
    },
    append: (mail) => command(`APPEND INBOX {${mail.length}}`, mail),
    [Symbol.dispose]: () => socket.destroy(),
  };
}
