/** Options of the command lines of benchmarks and campaigns. A wrong one is a TypeError with a sentence about it. */

/** Reads the options and runs; a wrong option ends with its sentence, the usage and exit code 2. */
export async function runWithOptions<T>(
  args: readonly string[],
  {
    usage,
    read,
    run,
  }: {
    readonly usage: string;
    readonly read: (args: readonly string[]) => T;
    readonly run: (options: T) => Promise<number>;
  },
): Promise<number> {
  let options: T;
  try {
    options = read(args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`${error.message}\n${usage}`);
    return 2;
  }
  return await run(options);
}

export function wholeNumber(option: string, text: string, least = 0, most = Number.MAX_SAFE_INTEGER): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number) && number >= least && number <= most) return number;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  throw new TypeError(`${option} takes a whole number ${range}, not ${text}`);
}
