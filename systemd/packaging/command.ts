/**
 * Command-line errors of the packaging tools: one line on standard error; exit code 2 for misuse, else 1.
 */

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
    if (!(error instanceof PackagingFailure)) throw error;
    process.stderr.write(`${name}: ${error.message}\n`);
    process.exitCode = error.exitCode;
  }
}
