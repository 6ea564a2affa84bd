/**
 * Program name in commands for people: hints, notes, help and pages show each command as it runs here.
 *
 * Code, errors, logs, the database and JSON contain the canonical `ticketmaild COMMAND`. In a checkout the command is
 * the path of its wrapper, and these functions put that in where a text is shown. They are for texts of this program:
 * names, subjects and messages of servers are never passed through them.
 */

const canonicalName = 'ticketmaild';
let shownName = canonicalName;

/** Characters that every shell takes as they are. A path: the name alone is that of an installed program. */
const safePath = /^[A-Za-z0-9._/-]{0,100}\/ticketmaild$/;

/** `path`: what the wrapper was called by. Anything but a safe path to a `ticketmaild` stands for the name alone. */
export function nameProgram(path: string): void {
  shownName = safePath.test(path) ? path : canonicalName;
}

/** `ticketmaild`, or the path of the wrapper. */
export function programName(): string {
  return shownName;
}

/** The first words of its commands, and what stands for them. */
export const commandWords: readonly string[] = [
  ...['run', 'poll', 'check', 'migrate', 'status', 'logs', 'log-level', 'config', 'mailbox', 'ticket', 'message'],
  ...['reconcile', 'quarantine', 'key', 'encryption', 'admin', 'oauth', 'database', 'completion', 'help'],
  ...['COMMAND', '--help', '--version'],
];

/** A quoted argument (shell.ts, JSON), which may contain anything; or a command, not after another word of its own. */
const quotedOrCommand = new RegExp(
  String.raw`(?<=^|[\s=(])(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\')+(?=$|[\s.,:;?)])|(?<![\w./-])ticketmaild(?= (?:${commandWords.join('|')})(?![\w-]))`,
  'g',
);

/** A text of this program, with its commands as they run here; quoted arguments stay. */
export function asRunHere(text: string): string {
  return text.replace(quotedOrCommand, (found) => (found === canonicalName ? shownName : found));
}

/** `hint: TEXT`, in the same way. */
export function hintText(hint: string): string {
  return `hint: ${asRunHere(hint)}`;
}
