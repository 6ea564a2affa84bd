/**
 * Shells under test: what bash, zsh and fish offer at the end of a line, and the line after one press of Tab.
 *
 * bash and zsh run with a pseudo-terminal, fish by `complete -C`. Each reads the script from a file and no other
 * configuration.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';

export type ShellName = 'bash' | 'zsh' | 'fish';

export const shellNames: readonly ShellName[] = ['bash', 'zsh', 'fish'];

export type Setting = { readonly cwd: string; readonly env: Readonly<Record<string, string>>; readonly script: string };

/** Runs a program to its end. */
async function output(program: string, args: readonly string[], input: string, setting: Setting): Promise<string> {
  const child = spawn(program, args, { cwd: setting.cwd, env: setting.env, stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  child.stderr.setEncoding('utf8').on('data', (more: string) => {
    errors += more;
  });
  child.stdin.end(input);
  await once(child, 'close');
  if (errors !== '') throw new Error(`${program}: ${errors}`);
  return text;
}

/** Parts of bash's own completion that it gives the function, for each line that is completed. */
const bashDriver = `
source "$1"
compopt() { printf '(%s)\\n' "$2"; }
while IFS= read -r COMP_LINE; do
  COMP_POINT=\${#COMP_LINE}
  fragment=\${COMP_LINE##*[ @=:]}
  COMPREPLY=()
  _ticketmaild ticketmaild "$fragment" ''
  if [ \${#COMPREPLY[@]} -gt 0 ]; then printf '%s\\n' "\${COMPREPLY[@]}"; fi
  echo --
done`;

/** The functions of zsh that show something print it here. */
const zshDriver = `
compdef() { : }
source "$1"
compadd() {
  local -a plain=()
  while [[ $1 == -* && $1 != -- && $1 != -a ]]; do if [[ $1 == -S ]]; then shift 2; else shift; fi; done
  if [[ $1 == -a ]]; then print -rl -- "\${(@qP)2}"; else shift; print -rl -- "$@"; fi
}
_describe() { local entries=\${@[-1]}; print -rl -- "\${(@)\${(@P)entries}%%:*}"; }
_files() { print "(files$*)"; }
compset() { PREFIX=\${PREFIX#*=}; }
while IFS= read -r line; do
  words=("\${(@z)line}")
  if [[ $line == *' ' ]]; then words+=(''); fi
  CURRENT=$#words PREFIX=$words[-1]
  _ticketmaild | while IFS= read -r one; do [[ $one == \${\${PREFIX#--*=}}* || $one == \\(* ]] && print -r -- $one; done
  print -- --
done`;

const fishDriver = `
source $argv[1]
while read -l line
    complete -C "$line" | string replace -r '\\t.*' ''
    printf '%s\\n' --
end`;

/**
 * What a shell offers for each line, in its order. bash prints \`(default)\` or \`(dirnames)\` for files and folders.
 */
export async function offered(
  shell: ShellName,
  lines: readonly string[],
  setting: Setting,
): Promise<readonly (readonly string[])[]> {
  const args = {
    bash: ['--norc', '-c', bashDriver, 'bash', setting.script],
    zsh: ['-f', '-c', zshDriver, 'zsh', setting.script],
    fish: ['--no-config', '-c', fishDriver, setting.script],
  }[shell];
  const text = await output(shell, args, `${lines.join('\n')}\n`, setting);
  return text
    .split(/^--\n/m)
    .slice(0, lines.length)
    .map((part) => part.split('\n').filter((line) => line !== ''));
}

/** The lines that an interactive bash or zsh shows after each of `lines` and Tab. */
export async function completedLines(
  shell: 'bash' | 'zsh',
  lines: readonly string[],
  setting: Setting,
): Promise<readonly string[]> {
  const start = {
    bash: `PS1='READY>'; source ${setting.script}; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'`,
    zsh: `PS1='READY>'; autoload -Uz compinit; compinit -u -D; source ${setting.script}; setopt nobeep; unset zle_bracketed_paste`,
  }[shell];
  const command = { bash: 'bash --norc --noprofile -i', zsh: 'zsh -f -i' }[shell];
  const child = spawn('script', ['--quiet', '--command', command, '/dev/null'], {
    ...{ cwd: setting.cwd, env: { ...setting.env, TERM: 'dumb', SHELL: '/bin/sh' } },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let screen = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
  });
  child.stdin.write(`${start}\n`);
  while (!/[\r\n]READY>/.test(screen)) await wait(20);
  const shown: string[] = [];
  for (const line of lines) {
    screen = '';
    child.stdin.write(`${line}\t`);
    // The shell waits for the command that prints names; then nothing more comes.
    for (let seen = -1; seen !== screen.length || screen.length <= line.length; await wait(300)) seen = screen.length;
    shown.push(stripVTControlCharacters(screen).replaceAll(/.\x08/g, '').trim());
    child.stdin.write('\x15');
    await wait(50);
  }
  child.kill();
  await once(child, 'close');
  return shown;
}
