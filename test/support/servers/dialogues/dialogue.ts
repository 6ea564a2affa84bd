/**
 * Dialogue player: an IMAP server that says what a file says, for behaviour that no real server here shows.
 *
 * A file has options (`capabilities: …`, `exists: …`, `uidnext: …`), then exchanges: `C:` is what the client sends
 * after its tag (a regular expression over the whole line), the `S:` lines after it are the answer, with `TAG` for that
 * tag, and `CUT` closes the connection. Exchanges with the same `C:` follow each other, and the last one repeats. What
 * no exchange names is answered as scripted-server.ts or the server of the test does. `#` begins a comment.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Script, ScriptedOptions } from '../../../adapters/imap/scripted-server.ts';

type Exchange = { readonly client: RegExp; readonly server: string[] };

export type Dialogue = ScriptedOptions & { readonly script: Script };

/** Reads `NAME.txt` of this folder. Each call starts at the beginning of the dialogue. */
export async function readDialogue(name: string): Promise<Dialogue> {
  const lines = (await readFile(join(import.meta.dirname, `${name}.txt`), 'utf8')).split('\n');
  const options: Record<string, string> = {};
  const exchanges = new Map<string, Exchange[]>();
  let last: Exchange | null = null;
  for (const line of lines) {
    const [, key = '', value = ''] = /^(\w+):? ?(.*)$/.exec(line) ?? [];
    if (key === 'C') {
      last = { client: new RegExp(`^${value}$`), server: [] };
      exchanges.set(value, [...(exchanges.get(value) ?? []), last]);
    } else if (last !== null && key === 'S') last.server.push(value);
    else if (last !== null && key === 'CUT') last.server.push(key);
    else if (last === null && key !== '') options[key] = value;
    else if (line !== '' && !line.startsWith('#')) throw new Error(`${name}.txt: ${line}`);
  }
  return { ...optionsOf(options), script: scriptOf([...exchanges.values()]) };
}

function optionsOf({ capabilities, exists, uidnext }: Record<string, string>): ScriptedOptions {
  return {
    ...(capabilities === undefined ? {} : { capabilities }),
    ...(exists === undefined ? {} : { exists: Number(exists) }),
    ...(uidnext === undefined ? {} : { uidNext: Number(uidnext) }),
  };
}

function scriptOf(exchanges: readonly Exchange[][]): Script {
  return (command, rest, tag, { say, socket }) => {
    const sent = rest === '' ? command : `${command} ${rest}`;
    const queue = exchanges.find(([first]) => first?.client.test(sent));
    const next = queue !== undefined && queue.length > 1 ? queue.shift() : queue?.[0];
    if (next === undefined) return false;
    for (const line of next.server) {
      if (line === 'CUT') socket.end();
      else say(line.replace('TAG', tag));
    }
    return true;
  };
}
