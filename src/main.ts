/**
 * Entry point: parses the command line and runs the command. The only file with effects on import, exit codes and
 * signals.
 *
 * Every error ends here as one line and a hint on standard error, with `--json` also as an object on standard output.
 * The first SIGINT or SIGTERM starts a graceful shutdown of `run` and `poll`; for any other command, and as a second
 * signal, it ends the process at once.
 */
import { fileURLToPath } from 'node:url';
import { damageIn } from './adapters/process/damaged-program.ts';
import { asFailure, Failure } from './errors.ts';
import { hintText, nameProgram } from './text/program-name.ts';

/** A file of this program. */
const program = fileURLToPath(import.meta.url);
/** Grace period before `process.exit` for handles left open by a finished command. */
const graceMs = 2000;
/** Under npm, one Ctrl-C arrives twice: from the terminal and from npm. */
const duplicateSignalMs = 400;

// In a checkout: a build contains JavaScript alone.
if (import.meta.url.endsWith('.ts')) nameProgram(process.argv[1] ?? '');
ignoreDebuggerSignal();
watchOutput();
reportUncaught();
end(await main(process.argv));

async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  try {
    const [{ buildProgram }, { guardMemory }] = await Promise.all([
      import('./commands/program.ts'),
      import('./adapters/process/memory-guard.ts'),
    ]);
    const program = buildProgram(
      async (command, { drains }) => {
        exitCode = await command(await makeContext(watchSignals(drains)));
      },
      (text) => process.stdout.write(text),
    );
    // Also for --version, which systemd/install runs as the user of the service.
    guardMemory();
    await program.parseAsync(argv);
    return exitCode;
  } catch (error) {
    return await reportFailure(error);
  }
}

async function makeContext(signal: AbortSignal): Promise<import('./commands/context.ts').Context> {
  const [
    { asPathOwner, becomePathOwner },
    { createNewFile, createNewFolder },
    { openTerminal },
    { findDataDir, loadConfig, processEnvironment, readRegular },
  ] = await Promise.all([
    import('./adapters/process/privileges.ts'),
    import('./adapters/process/new-file.ts'),
    import('./adapters/terminal/terminal.ts'),
    import('./config/load.ts'),
  ]);
  const { stdin, stdout, stderr } = process;
  const readFile = (path: string, content: 'public' | 'secret' = 'public'): Uint8Array =>
    asPathOwner(path, (own) => readRegular(own, content));
  const colours = (processEnvironment().NO_COLOR ?? '') === '';
  return {
    terminal: openTerminal({ stdin, stdout, stderr, colours, nowMs: Date.now }),
    isAttended: stdin.isTTY === true,
    signal,
    onReload,
    nowMs: Date.now,
    readFile,
    createFile: createNewFile,
    createFolder: createNewFolder,
    readKeyBackup: async (path) => asPathOwner(path, (await import('./adapters/keyfile/backup.ts')).readKeyBackup),
    loadConfig: async (file) => {
      const config = loadConfig({ file, readFile });
      await enterDataFolder(config.dataDir);
      return config;
    },
    outdatedNode: async () => (await import('./adapters/process/identity.ts')).outdatedNode(),
    inspectConfig: async (file) => (await import('./config/inspect.ts')).inspectConfig({ file, readFile }),
    findDataDir: async (file) => {
      const dataDir = findDataDir({ file, readFile });
      await enterDataFolder(dataDir);
      return dataDir;
    },
    inputs: {
      askStatus: async (dataDir) => (await import('./compose/control-socket.ts')).askStatus(dataDir),
      stdinKind: async () => (await import('./commands/logs.ts')).stdinKind(),
      hasUnit: async () => (await import('./commands/logs.ts')).hasUnit(),
      stdinChunks: async () => stdin,
      fileChunks: async (path, ...args) => {
        becomePathOwner(path, program);
        return (await import('./commands/logs.ts')).fileChunks(path, ...args);
      },
      programChunks: async (...args) => (await import('./commands/logs.ts')).programChunks(...args),
    },
    async compose(config, choice, people) {
      const [{ compose }, { createLog, isJournal }, { prettyLine }] = await Promise.all([
        import('./compose/compose.ts'),
        import('./log.ts'),
        import('./adapters/terminal/log-lines.ts'),
      ]);
      const coloured = colours && stdout.isTTY === true;
      // A command prints its own errors; a log line would repeat them.
      const log =
        choice === 'quiet'
          ? createLog({ level: 'error', pretty: false, destination: { write: () => undefined } })
          : createLog({
              level: config.log.level,
              pretty: choice === 'daemon_pretty' && ((json) => prettyLine(json, coloured)),
              journal: isJournal(processEnvironment().JOURNAL_STREAM),
            });
      process.once('exit', () => log.flush());
      return await compose(config, log, people);
    },
  };
}

/** Root becomes the owner of the data folder for good, before anything in it is touched. The audit log names root. */
async function enterDataFolder(dataDir: string): Promise<void> {
  const [{ becomeFolderOwner }, { guardMemory }, { keepCaller }] = await Promise.all([
    import('./adapters/process/privileges.ts'),
    import('./adapters/process/memory-guard.ts'),
    import('./config/load.ts'),
  ]);
  keepCaller();
  if (becomeFolderOwner(dataDir, program)) guardMemory();
}

/** SIGHUP requests a reload (systemd's ExecReload); without a listener it ends the process. */
function onReload(listener: () => void): Disposable {
  process.on('SIGHUP', listener);
  return { [Symbol.dispose]: () => void process.off('SIGHUP', listener) };
}

/** Aborted by the first SIGINT or SIGTERM. */
function watchSignals(drains: boolean): AbortSignal {
  const stop = new AbortController();
  let signalledAtMs = Number.NEGATIVE_INFINITY;
  for (const [name, number] of [['SIGINT', 2] as const, ['SIGTERM', 15] as const]) {
    process.on(name, () => {
      const isDuplicate = performance.now() - signalledAtMs < duplicateSignalMs;
      if (isDuplicate) return;
      if (!drains || stop.signal.aborted) process.exit(128 + number);
      signalledAtMs = performance.now();
      stop.abort();
    });
  }
  return stop.signal;
}

/**
 * Without a listener, SIGUSR1 opens Node's debugger on a port that every user of the machine can reach, and with it the
 * key.
 */
function ignoreDebuggerSignal(): void {
  process.on('SIGUSR1', () => undefined);
}

/** A reader such as `head` may close the pipe early: no error. Any other error ends the command, as it is uncaught. */
function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    const isFull = error.code === 'ENOSPC' || error.code === 'EDQUOT' || error.code === 'EFBIG';
    throw new Failure(isFull ? 'disk_full' : 'disk_failed', `standard output cannot be written (${error.code})`, {
      ...{ cause: error, fields: { cause: error.code ?? null } },
      hint: 'The output is incomplete: free some space where it goes, or write it elsewhere.',
    });
  });
}

/** Node would print an uncaught error with all its properties, past the log and its redaction. */
function reportUncaught(): void {
  let isReported = false;
  process.on('uncaughtException', (error) => {
    if (isReported) process.exit(1);
    isReported = true;
    // Reporting itself may be what is broken.
    setTimeout(() => process.exit(1), graceMs);
    reportFailure(error).then(
      (exitCode) => process.exit(exitCode),
      () => process.exit(1),
    );
  });
}

async function reportFailure(error: unknown): Promise<number> {
  try {
    return await printFailure(error);
  } catch (failed) {
    // What prints may be missing itself.
    const { message, hint, exitCode } = damageIn(error) ?? damageIn(failed) ?? asFailure(error);
    process.stderr.write(`ticketmaild: ${message}\n${hintText(hint)}\n`);
    return exitCode;
  }
}

async function printFailure(error: unknown): Promise<number> {
  const { CommanderError } = await import('commander');
  const { wrappedProse } = await import('./adapters/terminal/text-layout.ts');
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  const failure = error instanceof CommanderError ? misuse(error) : (damageIn(error) ?? asFailure(error));
  await printJson(failure);
  if (await reportToJournal(failure)) return failure.exitCode;
  const width = process.stderr.isTTY ? process.stderr.columns || 80 : Number.POSITIVE_INFINITY;
  for (const line of [`ticketmaild: ${failure.message}`, hintText(failure.hint)])
    process.stderr.write(`${wrappedProse(line, width).join('\n')}\n`);
  // The stack is the only trace of an unexpected error.
  if (failure.code === 'unexpected' && failure.cause instanceof Error) process.stderr.write(`${failure.cause.stack}\n`);
  return failure.exitCode;
}

/** With `--json`, scripts read the failure from standard output. */
async function printJson(failure: Failure): Promise<void> {
  const [{ asksForJson, failureJson }, { jsonLine }] = await Promise.all([
    import('./commands/output.ts'),
    import('./text/printable.ts'),
  ]);
  if (asksForJson(process.argv.slice(2))) process.stdout.write(`${jsonLine(failureJson(failure))}\n`);
}

/** Under journald the error is a log line like every other. False when standard error is not the journal. */
async function reportToJournal(failure: Failure): Promise<boolean> {
  const [{ createLog, isJournal }, { events }, { processEnvironment }] = await Promise.all([
    import('./log.ts'),
    import('./events.ts'),
    import('./config/load.ts'),
  ]);
  if (!isJournal(processEnvironment().JOURNAL_STREAM, 2)) return false;
  const log = createLog({ level: 'error', pretty: false, journal: true, destination: process.stderr });
  log.error({ error: failure }, events.daemonFailed);
  return true;
}

function misuse(error: import('commander').CommanderError): Failure {
  const message = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  // Commander quotes excess arguments; one may be a misplaced password.
  if (error.code === 'commander.excessArguments') return new Failure('usage', message.replace(/\..*$/, ''));
  return new Failure('usage', message);
}

function end(exitCode: number): void {
  process.exitCode = exitCode;
  setTimeout(() => process.exit(exitCode), graceMs).unref();
}
