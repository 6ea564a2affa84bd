/**
 * A mail server with a few messages that says what a test wants, for servers that no real one here behaves like.
 *
 * It knows as much IMAP as a poll needs; `script` may answer any command first. `arrive` adds a message without a word.
 */
import { type Script, type ScriptedServer, startScriptedServer, type Talk } from '../adapters/imap/scripted-server.ts';

export type ScriptedMailbox = ScriptedServer & {
  /** UID of the new message, which is also its number. */
  arrive(source: Uint8Array): number;
  /** Number of messages. */
  count(): number;
};

export type ScriptedMailboxOptions = {
  readonly sources: readonly Uint8Array[];
  readonly capabilities?: string;
  readonly script?: Script;
  /** The answer to a fetch of a source, without its line end; null: as usual. */
  readonly answerTo?: (uid: number) => string | null;
  /**
   * How a fetch ends at a message, after the answers before it; null: as usual. `asked` is the fetch without its
   * UIDs.
   */
  readonly endsAt?: (uid: number, asked: string) => 'refused' | 'throttled' | 'dropped' | null;
};

export async function startScriptedMailbox(options: ScriptedMailboxOptions): Promise<ScriptedMailbox> {
  const sources = options.sources.map((source) => Buffer.from(source).toString('latin1'));
  const { capabilities, answerTo } = options;
  const fetched = (uid: number, asked: string): string => {
    const source = sources[uid - 1] ?? '';
    const place = `RFC822.SIZE ${source.length} INTERNALDATE "24-Nov-2026 10:00:00 +0000"`;
    if (!asked.includes('BODY.PEEK[]')) return `* ${uid} FETCH (UID ${uid} ${place})`;
    return answerTo?.(uid) ?? `* ${uid} FETCH (UID ${uid} BODY[] {${source.length}}\r\n${source})`;
  };
  const server = await startScriptedServer({
    ...(capabilities === undefined ? {} : { capabilities }),
    script: (command, rest, tag, talk) => {
      if (options.script?.(command, rest, tag, talk) === true) return true;
      const { say } = talk;
      const [exists, uidNext] = [`* ${sources.length} EXISTS`, `* OK [UIDNEXT ${sources.length + 1}] yes`];
      if (command === 'SELECT' || command === 'EXAMINE') say(exists, '* OK [UIDVALIDITY 7] yes', uidNext);
      else if (command === 'UID SEARCH') say(`* SEARCH ${sources.map((_, index) => index + 1).join(' ')}`);
      else if (command === 'UID FETCH') {
        for (const uid of uidsIn(rest, sources.length)) {
          const end = options.endsAt?.(uid, rest.slice(rest.indexOf(' '))) ?? null;
          if (end !== null) return broken(end, tag, talk);
          say(fetched(uid, rest));
        }
      } else return false;
      say(`${tag} OK done`);
      return true;
    },
  });
  return Object.assign(server, {
    arrive: (source: Uint8Array) => sources.push(Buffer.from(source).toString('latin1')),
    count: () => sources.length,
  });
}

function broken(end: 'refused' | 'throttled' | 'dropped', tag: string, { say, socket }: Talk): true {
  if (end === 'refused') say(`${tag} NO [SERVERBUG] Internal error occurred.`);
  else if (end === 'throttled') say(`${tag} NO [UNAVAILABLE] Not now.`);
  else socket.end();
  return true;
}

/** The UIDs of a set such as `1:3,5` that are at most `last`. */
function uidsIn(rest: string, last: number): number[] {
  const set = rest.split(' ', 1)[0] ?? '';
  return set.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.split(':').map(Number);
    return Array.from({ length: Math.max(0, Math.min(to, last) - from + 1) }, (_, index) => from + index);
  });
}
