/**
 * Command-line errors and child processes of the packaging tools: a problem is one line on standard error; exit code 2
 * for misuse, else 1.
 */
import { execFile } from 'node:child_process';
import { promisify, stripVTControlCharacters } from 'node:util';

/** A problem that its message explains completely, so that it is printed without a stack. */
export class PackagingFailure extends Error {
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Runs a command; `name` precedes its error. */
export async function runCommand(name: string, command: () => Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const isExplained = error instanceof PackagingFailure;
    // A full disk or a folder of another user.
    if (!isExplained && !(code !== undefined && /^E[A-Z]+$/.test(code))) throw error;
    process.stderr.write(`${name}: ${(error as Error).message}\n`);
    process.exitCode = isExplained ? error.exitCode : 1;
  }
}

type ToolOptions = {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Debian package of the tool, if it is not its name. */
  readonly debian?: string;
};

/** Runs a tool in the locale C, and returns its standard output. A missing or failing tool is a packaging failure. */
export async function runTool(
  tool: string,
  args: readonly string[],
  { cwd, env, debian = tool }: ToolOptions = {},
): Promise<string> {
  try {
    const environment = { ...process.env, LC_ALL: 'C', TZ: 'UTC', ...env };
    const { stdout } = await promisify(execFile)(tool, args, { cwd, env: environment, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') throw new PackagingFailure(`${tool} is missing: apt-get install ${debian}`);
    const last = stripVTControlCharacters(`${stderr ?? ''}`)
      .trim()
      .split('\n')
      .at(-1);
    throw new PackagingFailure(`${tool} ${args[0] ?? ''} failed (${code}): ${last}`);
  }
}
