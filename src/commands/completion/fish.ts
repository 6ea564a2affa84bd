/**
 * Completion script for fish 3 and later: one function that prints candidates with their descriptions.
 *
 * Names are lines of a command substitution, which fish quotes when it inserts one; nothing of them is evaluated.
 */

import { type CompletionEntry, namesCommand, valueCases, valueFlags } from './grammar.ts';
import type { ValueKind } from './values.ts';

export function fishScript(entries: readonly CompletionEntry[]): string {
  return `${mainFunction(entries)}

${commandsFunction(entries)}

${optionsFunction(entries)}

${valuesFunction(entries)}

${namesFunction}

complete -c ticketmaild -f -a '(__ticketmaild)'
`;
}

function mainFunction(entries: readonly CompletionEntry[]): string {
  return `# fish completion of ticketmaild, made by: ticketmaild completion fish
function __ticketmaild
    set -l tokens (commandline -opc)
    set -l current (commandline -ct)
    set -l program $tokens[1]
    set -l at ''
    set -l help ''
    set -l config
    set -l want ''
    set -l ended ''
    set -l position 0
    for word in $tokens[2..-1]
        if test -n "$want"
            if test "$want" = --config
                set config --config=$word
            end
            set want ''
        else if test -z "$ended" -a "x$word" = x--
            set ended 1
        else if test -z "$ended"; and string match -q -- '-*' "$word"
            if contains -- "$word" ${valueFlags(entries).join(' ')}
                set want "$word"
            else if string match -q -- '--config=*' "$word"
                set config "$word"
            end
        else if test "$at" = help
            set help (string trim -- "$help $word")
        else if contains -- "$word" (__ticketmaild_commands "$at" | string replace -r '\\t.*' '')
            set at (string trim -- "$at $word")
        else
            set position (math $position + 1)
        end
    end
    if test -z "$ended"; and string match -q -- '--*=*' "$current"
        set want (string replace -r '=.*' '' -- "$current")
        __ticketmaild_values "$at $want" "$help" "$program" $config | string replace -r '^' -- "$want="
    else if test -n "$want"
        __ticketmaild_values "$at $want" "$help" "$program" $config
    else if test -z "$ended"; and string match -q -- '-*' "$current"
        __ticketmaild_options "$at"
    else
        __ticketmaild_commands "$at"
        __ticketmaild_values "$at $position" "$help" "$program" $config
    end
end`;
}

function commandsFunction(entries: readonly CompletionEntry[]): string {
  return `function __ticketmaild_commands
    switch "$argv[1]"
${entries
  .filter(({ commands }) => commands.length > 0)
  .map(({ path, commands }) =>
    printing(
      path,
      commands.map(({ name, description }) => `${name}\t${description}`),
    ),
  )
  .join('\n')}
    end
end`;
}

function optionsFunction(entries: readonly CompletionEntry[]): string {
  return `function __ticketmaild_options
    switch "$argv[1]"
${entries
  .map(({ path, options }) =>
    printing(
      path,
      options.flatMap(({ flags, description }) => flags.map((flag) => `${flag}\t${description}`)),
    ),
  )
  .join('\n')}
    end
end`;
}

function valuesFunction(entries: readonly CompletionEntry[]): string {
  return `# The values of an option ('mailbox add --tls'), or of the argument at a position ('mailbox show 0').
function __ticketmaild_values
    set -l help $argv[2]
    set -l program $argv[3]
    set -l config $argv[4]
    switch "$argv[1]"
${entries
  .flatMap(valueCases)
  .map(({ key, value }) => `        case ${quotedWord(key)}\n            ${action(value)}`)
  .join('\n')}
    end
end`;
}

const namesFunction = `# Names of the given kinds, one a line; none where the program cannot tell.
function __ticketmaild_names
    set -l program (string replace -r '^~/' "$HOME/" -- "$argv[1]")
    set -l config (string match -- '--config=*' "$argv[2]")
    command -q $program; or return
    for kind in $argv[3..-1]
        command $program ${namesCommand} $kind $config </dev/null 2>/dev/null
    end
end`;

/** A word in single quotes, for fish. */
function quotedWord(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}

function printing(path: string, lines: readonly string[]): string {
  const printed = lines.map((line) => `                ${quotedWord(line)}`);
  return `        case ${quotedWord(path)}\n            printf '%s\\n' \\\n${printed.join(' \\\n')}`;
}

function action(value: ValueKind): string {
  switch (value.kind) {
    case 'words':
      return `printf '%s\\n' ${value.words.join(' ')}`;
    case 'names':
      return `__ticketmaild_names "$program" "$config" ${value.of.join(' ')}`;
    case 'files':
      return '__fish_complete_path (commandline -ct)';
    case 'folders':
      return '__fish_complete_directories (commandline -ct)';
    case 'commands':
      return '__ticketmaild_commands "$help"';
    case 'none':
      return '';
  }
}
