/**
 * Shell quoting (POSIX XCU 2.2, also safe in bash, zsh and fish) of commands that hints and pages show for copying.
 *
 * Their arguments may come from the database, and so from anyone who can write to it. A name arrives as exactly one
 * argument, and nothing else runs. A name with characters that control a terminal or are invisible gets no command.
 */

/** One word for a shell; a backslash is quoted such that fish reads it in the same way. */
export function shellArg(word: string): string {
  if (/^[\w./][\w./@%+=:,-]*$/.test(word)) return word;
  return `'${word.replace(/['\\]/g, (one) => (one === "'" ? "'\\''" : `'"\\\\"'`))}'`;
}

/** Control, format, private and unassigned characters, lone surrogates, line separators, the replacement character. */
const unsafe = /[\p{C}\p{Zl}\p{Zp}\ufffd]/u;

/**
 * `ticketmaild WORDS NAME REST`: `words` and `rest` are literals, `name` is any text, an argument even when it begins
 * with a hyphen (XBD 12.2, guideline 10). null: `name` must not be shown for copying.
 */
export function shellCommand(words: string, name: string, rest = ''): string | null {
  if (unsafe.test(name)) return null;
  if (!name.startsWith('-')) return `ticketmaild ${words} ${shellArg(name)}${rest}`;
  // Nothing after `--` is an option.
  const [options, more] = rest.startsWith(' --') ? [rest, ''] : ['', rest];
  return `ticketmaild ${words}${options} -- ${shellArg(name)}${more}`;
}

/** `ticketmaild WORDS --OPTION=VALUE`, in the same way. */
export function shellCommandWithOption(words: string, option: string, value: string): string | null {
  return unsafe.test(value) ? null : `ticketmaild ${words} --${option}=${shellArg(value)}`;
}

/** One argument to copy, or the notice. */
export function shellArgOrNotice(word: string): string {
  return unsafe.test(word) ? noCommandNotice : shellArg(word);
}

/** For the end of a hint. No full stop follows a command, as it would be copied with it. */
export function commandOrNotice(command: string | null): string {
  return command ?? noCommandNotice;
}

export const noCommandNotice =
  'no command is shown, as the name contains characters that are not safe to paste into a shell (control or invisible ones)';
