/**
 * Commands that people copy into a shell: what stands in them may come from the database, and so from anybody who can
 * write it.
 *
 * A name arrives as exactly one argument and nothing else runs, in a POSIX shell and in fish. A name with characters that a
 * terminal obeys, or that are not seen, gets no command at all.
 */

/** One word for a POSIX shell (XCU 2.2); a backslash is put so that fish reads it in the same way. */
export function shellArg(word: string): string {
  if (/^[\w./][\w./@%+=:,-]*$/.test(word)) return word;
  return `'${word.replace(/['\\]/g, (one) => (one === "'" ? "'\\''" : `'"\\\\"'`))}'`;
}

/** Control, format, private and unassigned characters, halves of pairs; and what ends a line or stands for a lost character. */
const notForShells = /[\p{C}\p{Zl}\p{Zp}\ufffd]/u;

/**
 * `ticketmaild WORDS NAME`: `words` are ours, `name` may hold anything and is an argument even where it begins with a
 * hyphen (XBD 12.2, guideline 10). `rest`: what stands behind it. null: such a name is not for a shell.
 */
export function shellCommand(words: string, name: string, rest = ''): string | null {
  if (notForShells.test(name)) return null;
  return `ticketmaild ${words} ${name.startsWith('-') ? '-- ' : ''}${shellArg(name)}${rest}`;
}

/** `ticketmaild WORDS --OPTION=VALUE`, in the same way. */
export function shellCommandWithOption(words: string, option: string, value: string): string | null {
  return notForShells.test(value) ? null : `ticketmaild ${words} --${option}=${shellArg(value)}`;
}

/** What is to be copied as one argument. */
export function shellArgOrNotice(word: string): string {
  return notForShells.test(word) ? noCommandNotice : shellArg(word);
}

/** For the end of a hint: no full stop behind a command, which would be copied with it. */
export function commandOrNotice(line: string | null): string {
  return line ?? noCommandNotice;
}

/** Instead of a command. */
export const noCommandNotice =
  'no command is shown, as the name holds characters that a shell must not get from here (control or invisible ones)';
