/**
 * Spelling suggestion for commands: the nearest name in the group, or the name here of a verb that other tools use.
 *
 * A misspelt verb of another tool counts too. The suggestion is a whole command, since it may be in another group.
 */
import { nearestWord } from '../../text/spelling.ts';

/** Names here, the first that the group has. */
const verbs: Readonly<Record<string, readonly string[]>> = {
  ...{ rm: ['remove', 'discard', 'revoke'], del: ['remove', 'discard', 'revoke'] },
  ...{ delete: ['remove', 'discard', 'revoke'], remove: ['discard', 'revoke'] },
  ...{ ls: ['list'], list: ['show', 'status'], show: ['list', 'status'], status: ['show', 'list'] },
  ...{ get: ['show', 'status', 'list'], view: ['show', 'status', 'list'], info: ['show', 'status', 'list'] },
  ...{ edit: ['set', 'set-password'], change: ['set', 'set-password'], update: ['set', 'set-password'] },
  ...{ rename: ['set'], password: ['set-password'], passwd: ['set-password'] },
  ...{ new: ['add'], create: ['add'] },
  ...{ on: ['enable', 'resume'], enable: ['resume'], off: ['disable', 'pause'], disable: ['pause'] },
  ...{ start: ['run', 'resume', 'enable'], stop: ['pause', 'disable'] },
};

/** Whole commands, by the words that were given. */
const commands: Readonly<Record<string, string>> = {
  ...{ encrypt: 'encryption', decrypt: 'encryption disable', serve: 'run', daemon: 'run', doctor: 'check' },
  ...{ add: 'mailbox add', list: 'mailbox list', ls: 'mailbox list', user: 'admin', log: 'logs' },
  ...{ 'key rotate': 'encryption rotate', 'key enable': 'encryption enable', 'key status': 'encryption status' },
  ...{ 'encryption key': 'key', 'encryption backup': 'key backup', 'encryption verify': 'key verify' },
};

/** `path`: words of the group, none for the program; `names`: commands of the group. null: nothing is near. */
export function nearestCommand(path: readonly string[], word: string, names: readonly string[]): string | null {
  const inGroup = (name: string): string => [...path, name].join(' ');
  const group = path.map((one) => `${one} `).join('');
  const elsewhere = new Map(
    Object.entries(commands).flatMap(([given, command]) => {
      const last = given.slice(group.length);
      return given.startsWith(group) && !last.includes(' ') ? [[last, command] as const] : [];
    }),
  );
  const here = new Map(
    Object.entries(verbs).flatMap(([verb, choices]) => {
      const name = choices.find((one) => names.includes(one));
      return name === undefined ? [] : [[verb, inGroup(name)] as const];
    }),
  );
  const known = new Map([...here, ...elsewhere, ...names.map((name) => [name, inGroup(name)] as const)]);
  return known.get(word) ?? known.get(nearestWord(word, [...known.keys()]) ?? '') ?? null;
}
