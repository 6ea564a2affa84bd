/**
 * Completion script for bash 4.4 and later (complete -F, readline), without the library bash-completion.
 *
 * The line is split here, since readline breaks words at `@`, `=` and `:`. Nothing of a name is evaluated: names are
 * lines of a pipe, compared as texts and quoted by printf %q.
 */

import { type CompletionEntry, casePattern, namesCommand, singleQuoted, valueCases, valueFlags } from './grammar.ts';
import type { ValueKind } from './values.ts';

export function bashScript(entries: readonly CompletionEntry[]): string {
  return `${mainFunction}

${splitFunction}

${walkFunction(entries)}

${hasFunction(entries)}

${commandsFunction(entries)}

${wordsFunction(entries)}

${valuesFunction(entries)}

${namesFunction}

${replyFunction}

complete -F _ticketmaild ticketmaild
`;
}

const mainFunction = `# bash completion of ticketmaild, made by: ticketmaild completion bash
_ticketmaild() {
  local -a words=() candidates=()
  local cur='' quote='' at='' position=0 help='' config='' want='' ended='' lookup=''
  _ticketmaild_split
  _ticketmaild_walk
  COMPREPLY=()
  if [[ $cur == --*=* && -z $ended ]]; then
    want=\${cur%%=*} cur=\${cur#*=}
  fi
  if [[ -n $want ]]; then _ticketmaild_values "$at $want"; else _ticketmaild_words; fi
  case $lookup in
    files) compopt -o default ;;
    folders) compopt -o dirnames ;;
    *) _ticketmaild_reply "$2" ;;
  esac
}`;

const splitFunction = `# The words before the cursor, and the one at it, by the rules of the shell for quotes; nothing is expanded.
_ticketmaild_split() {
  local line=\${COMP_LINE:0:COMP_POINT} word='' started='' one i
  for ((i = 0; i < \${#line}; i++)); do
    one=\${line:i:1}
    if [[ $one == '\\' && $quote != "'" ]]; then
      i=$((i + 1)) word+=\${line:i:1} started=1
    elif [[ -n $quote ]]; then
      if [[ $one == "$quote" ]]; then quote=''; else word+=$one; fi
    else
      case $one in
        [[:space:]]) if [[ -n $started ]]; then words+=("$word"); fi; word='' started='' ;;
        "'" | '"') quote=$one started=1 ;;
        *) word+=$one started=1 ;;
      esac
    fi
  done
  cur=$word
  # Words before the command, such as assignments.
  while [[ \${#words[@]} -gt 1 && \${words[0]##*/} != ticketmaild ]]; do words=("\${words[@]:1}"); done
}`;

function walkFunction(entries: readonly CompletionEntry[]): string {
  return `# The command that the words name, the number of its arguments, and the option whose value is at the cursor.
_ticketmaild_walk() {
  local i word
  for ((i = 1; i < \${#words[@]}; i++)); do
    word=\${words[i]}
    if [[ -n $want ]]; then
      if [[ $want == --config ]]; then config=$word; fi
      want=''
    elif [[ -z $ended && $word == -- ]]; then ended=1
    elif [[ -z $ended && $word == -* ]]; then
      case $word in
        --config=*) config=\${word#*=} ;;
        ${valueFlags(entries).join(' | ')}) want=$word ;;
      esac
    elif [[ $at == help ]]; then help="\${help:+$help }$word"
    elif _ticketmaild_has "$at" "$word"; then at="\${at:+$at }$word"
    else position=$((position + 1)); fi
  done
}`;
}

function hasFunction(entries: readonly CompletionEntry[]): string {
  return `# True when the group $1 has the command $2.
_ticketmaild_has() {
  case "$1 $2" in
    ${entries.flatMap(({ path, commands }) => commands.map(({ name }) => singleQuoted(`${path} ${name}`))).join(' | \\\n    ')}) return 0 ;;
  esac
  return 1
}`;
}

function commandsFunction(entries: readonly CompletionEntry[]): string {
  return `# The commands of the group $1.
_ticketmaild_commands() {
  case $1 in
${entries
  .filter(({ commands }) => commands.length > 0)
  .map(
    ({ path, commands }) => `    ${singleQuoted(path)}) candidates=(${commands.map(({ name }) => name).join(' ')}) ;;`,
  )
  .join('\n')}
  esac
}`;
}

function wordsFunction(entries: readonly CompletionEntry[]): string {
  return `# Options, commands or arguments at the cursor.
_ticketmaild_words() {
  if [[ $cur == -* && -z $ended ]]; then
    case $at in
${entries.map(({ path, options }) => `      ${singleQuoted(path)}) candidates=(${longFlags(options)}) ;;`).join('\n')}
    esac
  else
    _ticketmaild_commands "$at"
    _ticketmaild_values "$at $position"
  fi
}`;
}

function valuesFunction(entries: readonly CompletionEntry[]): string {
  return `# The values of an option ('mailbox add --tls'), or of the argument at a position ('mailbox show 0').
_ticketmaild_values() {
  case $1 in
${entries
  .flatMap(valueCases)
  .map(({ key, value }) => `    ${casePattern(key)}) ${action(value)} ;;`)
  .join('\n')}
  esac
}`;
}

const namesFunction = `# Names of the given kinds, one a line; none where the program cannot tell.
_ticketmaild_names() {
  local kind program=\${words[0]} name
  if [[ $program == '~/'* ]]; then program=$HOME/\${program:2}; fi
  for kind in "$@"; do
    while IFS= read -r name; do candidates+=("$name"); done < <(
      "$program" ${namesCommand} "$kind" \${config:+"--config=$config"} </dev/null 2>/dev/null
    )
  done
}`;

const replyFunction = `# Candidates that begin as the word at the cursor; $1 is the part of it that readline replaces.
_ticketmaild_reply() {
  local one replaced=\${1#[\\'\\"]}
  local kept=\${cur%"\${replaced//\\\\/}"}
  for one in "\${candidates[@]}"; do
    [[ $one == "$cur"* ]] || continue
    # Within quotes that are open, only what needs none.
    if [[ -n $quote && $one == *[!A-Za-z0-9@%_.:/\\ +-]* ]]; then continue; fi
    one=\${one#"$kept"}
    if [[ -z $quote ]]; then printf -v one %q "$one"; fi
    if [[ $one == *: ]]; then compopt -o nospace; fi
    COMPREPLY+=("$one")
  done
}`;

function longFlags(options: CompletionEntry['options']): string {
  return options.flatMap(({ flags }) => flags.filter((flag) => flag.startsWith('--'))).join(' ');
}

function action(value: ValueKind): string {
  switch (value.kind) {
    case 'words':
      return `candidates=(${value.words.join(' ')})`;
    case 'names':
      return `_ticketmaild_names ${value.of.join(' ')}`;
    case 'files':
    case 'folders':
      return `lookup=${value.kind}`;
    case 'commands':
      return '_ticketmaild_commands "$help"';
    case 'none':
      return ':';
  }
}
