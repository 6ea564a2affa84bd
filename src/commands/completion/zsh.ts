/**
 * Completion script for zsh 5 (compsys): a function for `fpath`, or to source after compinit.
 *
 * Names reach `compadd` as an array, which quotes what it inserts; nothing of them is evaluated.
 */

import { type CompletionEntry, casePattern, namesCommand, singleQuoted, valueCases, valueFlags } from './grammar.ts';
import type { ValueKind } from './values.ts';

export function zshScript(entries: readonly CompletionEntry[]): string {
  return `${mainFunction(entries)}

${hasFunction(entries)}

${commandsFunction(entries)}

${optionsFunction(entries)}

${valuesFunction(entries)}

${namesFunction}

if [[ \${zsh_eval_context[-1]} == loadautofunc ]]; then
  _ticketmaild "$@"
else
  compdef _ticketmaild ticketmaild
fi
`;
}

function mainFunction(entries: readonly CompletionEntry[]): string {
  return `#compdef ticketmaild
# zsh completion of ticketmaild, made by: ticketmaild completion zsh
_ticketmaild() {
  local at='' help='' config='' want='' ended='' word program=\${(Q)words[1]}
  local -i i position=0
  for ((i = 2; i < CURRENT; i++)); do
    word=\${(Q)words[i]}
    if [[ -n $want ]]; then
      [[ $want == --config ]] && config=$word
      want=''
    elif [[ -z $ended && $word == -- ]]; then ended=1
    elif [[ -z $ended && $word == -* ]]; then
      case $word in
        (--config=*) config=\${word#*=} ;;
        (${valueFlags(entries).join('|')}) want=$word ;;
      esac
    elif [[ $at == help ]]; then help="\${help:+$help }$word"
    elif _ticketmaild_has "$at" "$word"; then at="\${at:+$at }$word"
    else ((position += 1)); fi
  done
  if [[ -z $ended && $PREFIX == --*=* ]]; then
    want=\${PREFIX%%=*}
    compset -P '*='
  fi
  if [[ -n $want ]]; then _ticketmaild_values "$at $want"
  elif [[ -z $ended && $PREFIX == -* ]]; then _ticketmaild_options "$at"
  else
    _ticketmaild_commands "$at"
    _ticketmaild_values "$at $position"
  fi
}`;
}

function hasFunction(entries: readonly CompletionEntry[]): string {
  return `# True when the group $1 has the command $2.
_ticketmaild_has() {
  case "$1 $2" in
    (${entries.flatMap(({ path, commands }) => commands.map(({ name }) => singleQuoted(`${path} ${name}`))).join('|\\\n    ')}) return 0 ;;
  esac
  return 1
}`;
}

function commandsFunction(entries: readonly CompletionEntry[]): string {
  return `# The commands of the group $1.
_ticketmaild_commands() {
  local -a list
  case $1 in
${entries
  .filter(({ commands }) => commands.length > 0)
  .map(({ path, commands }) => {
    const list = commands.map(({ name, description }) => described(name, description));
    return `    (${singleQuoted(path)}) list=(\n${list.join('\n')}\n    ) ;;`;
  })
  .join('\n')}
    (*) return ;;
  esac
  _describe 'command' list
}`;
}

function optionsFunction(entries: readonly CompletionEntry[]): string {
  return `# The options of the command $1.
_ticketmaild_options() {
  local -a list
  case $1 in
${entries
  .map(({ path, options }) => {
    const list = options.flatMap(({ flags, description }) => flags.map((flag) => described(flag, description)));
    return `    (${singleQuoted(path)}) list=(\n${list.join('\n')}\n    ) ;;`;
  })
  .join('\n')}
  esac
  _describe -o 'option' list
}`;
}

function valuesFunction(entries: readonly CompletionEntry[]): string {
  return `# The values of an option ('mailbox add --tls'), or of the argument at a position ('mailbox show 0').
_ticketmaild_values() {
  case $1 in
${entries
  .flatMap(valueCases)
  .map(({ key, value }) => `    (${casePattern(key)}) ${action(value)} ;;`)
  .join('\n')}
  esac
}`;
}

const namesFunction = `# Names of the given kinds, one a line; none where the program cannot tell.
_ticketmaild_names() {
  local kind
  local -a names
  [[ $program == '~/'* ]] && program=$HOME/\${program:2}
  for kind in "$@"; do
    names+=("\${(@f)$("$program" ${namesCommand} "$kind" \${config:+"--config=$config"} </dev/null 2>/dev/null)}")
  done
  names=("\${(@)names:#}")
  compadd -a names
}`;

/** An entry of \`_describe\`. */
function described(name: string, description: string): string {
  return `      ${singleQuoted(`${name}:${description}`)}`;
}

function action(value: ValueKind): string {
  switch (value.kind) {
    case 'words': {
      const open = value.words.filter((word) => word.endsWith(':'));
      const whole = value.words.filter((word) => !word.endsWith(':'));
      return [
        `compadd -- ${whole.join(' ')}`,
        ...(open.length === 0 ? [] : [`compadd -S '' -- ${open.join(' ')}`]),
      ].join('; ');
    }
    case 'names':
      return `_ticketmaild_names ${value.of.join(' ')}`;
    case 'files':
      return '_files';
    case 'folders':
      return '_files -/';
    case 'commands':
      return '_ticketmaild_commands "$help"';
    case 'none':
      return ':';
  }
}
