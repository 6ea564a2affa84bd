/**
 * From the command line to a command: the only file that acts on import, sets the exit code or listens to signals.
 *
 * Whatever is thrown ends here as one line and a hint on standard error. The first SIGINT or SIGTERM asks `run` and
 * `poll` to finish what is under way, any other command and every further signal ends the process at once.
 */
import { asFailure, Failure } from './errors.ts';

/** What is still open this long after the last word is not waited for. */
const lingerMsMax = 2000;
/** Started through npm, one Ctrl-C arrives twice: from the terminal and from npm. */
const echoMsMax = 400;

keepDebuggerClosed();
endQuietlyWithoutReader();
tellDefects();
end(await main(process.argv));

async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  try {
    const { buildProgram } = await import('./commands/program.ts');
    const program = buildProgram(
      async (command, { drains }) => {
        exitCode = await command(await makeContext(watchSignals(drains)));
      },
      (text) => process.stdout.write(text),
    );
    await program.parseAsync(argv);
    return exitCode;
  } catch (error) {
    return await tellFailure(error);
  }
}

async function makeContext(signal: AbortSignal): Promise<import('./commands/context.ts').Context> {
  const [{ readFileSync, writeFileSync }, { openTerminal }, { loadConfig, processEnvironment }] = await Promise.all([
    import('node:fs'),
    import('./adapters/terminal/terminal.ts'),
    import('./config/load.ts'),
  ]);
  const { stdin, stdout, stderr } = process;
  const colours = (processEnvironment().NO_COLOR ?? '') === '';
  return {
    terminal: openTerminal({ stdin, stdout, stderr, colours, nowMs: Date.now }),
    isAttended: stdin.isTTY === true,
    signal,
    onReload,
    nowMs: Date.now,
    readFile: readFileSync,
    writeNewFile: (path, bytes) => writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 }),
    loadConfig: async (file) => loadConfig({ file }),
    outside: {
      fetchJson: async (...args) => (await import('./commands/status/client.ts')).fetchJson(...args),
      inputPieces: async () => stdin,
      filePieces: async (...args) => (await import('./commands/logs.ts')).filePieces(...args),
      programPieces: async (...args) => (await import('./commands/logs.ts')).programPieces(...args),
    },
    async compose(config, choice, people) {
      const [{ compose }, { createLog, isJournal }, { prettyLine }] = await Promise.all([
        import('./compose/compose.ts'),
        import('./log.ts'),
        import('./adapters/terminal/log-lines.ts'),
      ]);
      const coloured = colours && stdout.isTTY === true;
      // A command tells by itself what is wrong, in its own words: a log line beside would say it twice.
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

/** SIGHUP asks for it (systemd's reload); without a listener it ends the process, as it does every program. */
function onReload(listener: () => void): Disposable {
  process.on('SIGHUP', listener);
  return { [Symbol.dispose]: () => void process.off('SIGHUP', listener) };
}

/** The signal that asks the command to stop. */
function watchSignals(drains: boolean): AbortSignal {
  const stop = new AbortController();
  let askedAtMs = Number.NEGATIVE_INFINITY;
  for (const [name, number] of [['SIGINT', 2] as const, ['SIGTERM', 15] as const]) {
    process.on(name, () => {
      const isEcho = performance.now() - askedAtMs < echoMsMax;
      if (isEcho) return;
      if (!drains || stop.signal.aborted) process.exit(128 + number);
      askedAtMs = performance.now();
      stop.abort();
    });
  }
  return stop.signal;
}

/** Without a listener SIGUSR1 opens Node's debugger on a port that every user of the machine can reach, and so the key. */
function keepDebuggerClosed(): void {
  process.on('SIGUSR1', () => undefined);
}

/** A reader such as `head` may leave early: that is no error of ours. */
function endQuietlyWithoutReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}

/** Node would print what nobody caught with all of its properties, past the log and its redaction. */
function tellDefects(): void {
  let isTold = false;
  process.on('uncaughtException', (error) => {
    if (isTold) process.exit(1);
    isTold = true;
    // It may be what telling needs that is broken.
    setTimeout(() => process.exit(1), lingerMsMax);
    tellFailure(error).then(
      (exitCode) => process.exit(exitCode),
      () => process.exit(1),
    );
  });
}

async function tellFailure(error: unknown): Promise<number> {
  const { CommanderError } = await import('commander');
  const { printableLine } = await import('./text/printable.ts');
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  const failure = error instanceof CommanderError ? misuse(error) : asFailure(error);
  if (await toldJournal(failure)) return failure.exitCode;
  process.stderr.write(`ticketmaild: ${printableLine(failure.message)}\nhint: ${printableLine(failure.hint)}\n`);
  // Nobody expected this one: only its stack tells where it came from.
  if (failure.code === 'unexpected' && failure.cause instanceof Error) process.stderr.write(`${failure.cause.stack}\n`);
  return failure.exitCode;
}

/** In the journal the end of a daemon is a line like every other. False when standard error goes elsewhere. */
async function toldJournal(failure: Failure): Promise<boolean> {
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
  if (error.code === 'commander.help') return new Failure('usage', 'a command is missing', { hint: 'See --help.' });
  const message = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  // Commander quotes what is too much; it may be a password that was typed where none belongs.
  if (error.code === 'commander.excessArguments') return new Failure('usage', message.replace(/\..*$/, ''));
  return new Failure('usage', message);
}

function end(exitCode: number): void {
  process.exitCode = exitCode;
  setTimeout(() => process.exit(exitCode), lingerMsMax).unref();
}
