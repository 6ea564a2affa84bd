/**
 * Rules about the project as a whole: its lock file, and what its README promises.
 */

type LockedPackage = {
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
  readonly dev?: boolean;
  readonly link?: boolean;
};

/** What is wrong in a lock file: every package is locked by its content, from no one registry, and runs no script. */
export function lockProblems(lock: { readonly packages: Readonly<Record<string, LockedPackage>> }): string[] {
  return Object.entries(lock.packages)
    .filter(([path]) => path !== '')
    .flatMap(([path, locked]) => [
      ...(locked.integrity === undefined ? [`${path} has no integrity`] : []),
      ...(locked.resolved === undefined ? [] : [`${path} names where it was downloaded from`]),
      ...(locked.hasInstallScript === true && locked.dev !== true ? [`${path} runs a script as it is installed`] : []),
    ]);
}

/** Scripts that a README names and package.json does not have. */
export function unknownScripts(readme: string, scripts: readonly string[]): string[] {
  const named = [...readme.matchAll(/\bnpm (?:run(?: -s| --silent)? )?(\S*[\w:])/g)]
    .filter(([whole, name = '']) => whole.startsWith('npm run') || name === 'test' || name === 'start')
    .map(([, name = '']) => name);
  return [...new Set(named)].filter((name) => !scripts.includes(name));
}

/** Commands (`mailbox add`) that a README calls in its code, as `ticketmaild …`, and the program does not have. */
export function unknownCommands(readme: string, commands: readonly string[]): string[] {
  const code = [...readme.matchAll(/```[\s\S]*?```|`[^`\n]+`/g)].map(([block]) => block).join('\n');
  const calls = [...code.matchAll(/\bticketmaild (?:-- )?([a-z][a-z-]*)(?: ([a-z][a-z-]*)(?![\w.:/@=]))?/g)];
  return [...new Set(calls.flatMap(([, first = '', second]) => unknownCommand(first, second, commands)))];
}

function unknownCommand(first: string, second: string | undefined, commands: readonly string[]): string[] {
  const isGroup = commands.some((command) => command.startsWith(`${first} `));
  const name = isGroup && second !== undefined ? `${first} ${second}` : first;
  return commands.includes(name) || (isGroup && second === undefined) ? [] : [name];
}
