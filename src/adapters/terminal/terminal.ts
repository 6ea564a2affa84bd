/**
 * Standard input, output and error as the commands use them: lines, tables, JSON, questions, passwords, progress.
 *
 * Text goes through `printable`, so nothing of a mail reaches a terminal as a command to it. Every write waits for a
 * slow reader, so memory stays flat however long a listing is. What is asked goes to standard error, results alone go
 * to standard output. What measures text is loaded when it is needed: most listings are JSON. Colours only on a terminal, and not when NO_COLOR is set (no-color.org).
 */

import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { Failure } from '../../errors.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { jsonLine, printableLine, printableText } from '../../text/printable.ts';
import { type Keyboard, promptPassword, readPasswordToEnd } from './password.ts';
import {
  type Column,
  cutToWidth,
  inStyle,
  type Style,
  type StyledLine,
  styledText,
  tableLines,
} from './text-layout.ts';

type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };
type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean };

export type TerminalStreams = {
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
  /** False to print without colours, whatever the streams are. */
  readonly colours: boolean;
  readonly nowMs: () => number;
};

export interface Terminal {
  /** True when somebody looks at standard output. */
  readonly isInteractive: boolean;
  /** One line of result, made printable, in `style` where colours are shown. */
  line(text: string, style?: Style): Promise<void>;
  /** Text of several lines, made printable. */
  text(text: string): Promise<void>;
  json(value: unknown): Promise<void>;
  table(columns: readonly Column[], rows: readonly (readonly string[])[]): Promise<void>;
  /** Columns and rows of the terminal at standard output; null where that is none. */
  size(): Size | null;
  /** Lines of result, made printable; nothing is cut. */
  styled(lines: readonly StyledLine[]): Promise<void>;
  /** A picture that is drawn again and again. Throws `usage` where standard output is no terminal. */
  screen(): Promise<Screen>;
  /** One line on standard error: for people, never for scripts. */
  note(text: string, style?: Style): void;
  /** Shows a stage of work in place on standard error, if that is a terminal; '' takes it away. */
  stage(text: string): void;
  progress(label: string): Promise<Progress>;
  /** True for yes. Throws `usage` where there is nobody to ask. */
  confirm(question: string, otherwise: string): Promise<boolean>;
  /** From the prompt. Throws `password_missing` where there is nobody to ask. */
  askPassword(question: string): Promise<SecretBytes>;
  /** All of standard input, as `--password-stdin` promises. */
  readPassword(): Promise<SecretBytes>;
}

const silentProgress: Progress = { update: () => undefined, clear: () => undefined };

/** The terminal of a process, or of a test. */
export function openTerminal(streams: TerminalStreams): Terminal {
  const { stdin, stdout, stderr } = streams;
  const out = (text: string): Promise<void> => writeAll(stdout, text);
  const err = (text: string): void => void stderr.write(text);
  const widthOf = (output: Output): number => output.columns ?? 80;
  return {
    isInteractive: stdout.isTTY === true,
    line: (text, style) => out(`${styled(streams, stdout, printableLine(text), style)}\n`),
    text: (text) => out(`${printableText(text)}\n`),
    json: (value) => out(`${jsonLine(value)}\n`),
    async table(columns, rows) {
      const [head, ...body] = tableLines(columns, rows, stdout.isTTY === true ? widthOf(stdout) : null);
      await out([styled(streams, stdout, head ?? '', 'bold'), ...body, ''].join('\n'));
    },
    size: () => sizeOf(stdout),
    async styled(lines) {
      const coloured = stdout.isTTY === true && streams.colours;
      await out(lines.map((line) => `${styledText(line, coloured)}\n`).join(''));
    },
    async screen() {
      if (stdout.isTTY !== true) throw new Failure('usage', 'standard output is no terminal to draw on');
      return createScreen(out, () => sizeOf(stdout) ?? { columns: 80, rows: 24 }, streams.colours);
    },
    note: (text, style) => err(`${styled(streams, stderr, printableLine(text), style)}\n`),
    stage(text) {
      if (stderr.isTTY === true) err(`\r\x1b[K${printableLine(text).slice(0, widthOf(stderr) - 1)}`);
    },
    async progress(label) {
      if (stderr.isTTY !== true) return silentProgress;
      return progressBar(printableLine(label), err, () => widthOf(stderr), streams.nowMs);
    },
    confirm: (question, otherwise) => confirm(streams, question, otherwise),
    askPassword(question) {
      if (isKeyboard(stdin)) return promptPassword(question, stdin, err);
      throw new Failure('password_missing', 'there is no terminal to ask for the password at');
    },
    readPassword() {
      // Typed by hand after all: then without an echo, too.
      if (isKeyboard(stdin)) return promptPassword('Password: ', stdin, err);
      return readPasswordToEnd(stdin as AsyncIterable<Uint8Array | string>);
    },
  };
}

function styled(streams: TerminalStreams, output: Output, text: string, style: Style | undefined): string {
  if (style === undefined || output.isTTY !== true || !streams.colours) return text;
  return inStyle(text, style);
}

/** A terminal that does not know its size says 0. */
function sizeOf(output: Output): Size | null {
  return output.isTTY === true ? { columns: output.columns || 80, rows: output.rows || 24 } : null;
}

async function writeAll(output: Output, text: string): Promise<void> {
  if (!output.write(text)) await once(output, 'drain');
}

function isKeyboard(input: Input): input is Input & Keyboard {
  return input.isTTY === true && 'setRawMode' in input;
}

async function confirm({ stdin, stderr }: TerminalStreams, question: string, otherwise: string): Promise<boolean> {
  if (stdin.isTTY !== true) throw new Failure('usage', 'there is no terminal to ask at', { hint: otherwise });
  using questions = createInterface({ input: stdin, output: stderr });
  // Ctrl-C and Ctrl-D close the questions without an answer: that is a no.
  const closed = once(questions, 'close').then(() => '');
  const asked = questions.question(`${question} [y/N] `).catch(() => '');
  const answer = await Promise.race([asked, closed]);
  return /^y(es)?$/i.test(answer.trim());
}

/**
 * A picture on a terminal that is drawn again and again, in place and without flicker.
 *
 * Each picture is one write that overwrites the one before line by line; nothing is blank in between. Lines are cut to the
 * width, and the picture to the height, of the terminal as it is at that moment.
 */

export type Size = { readonly columns: number; readonly rows: number };

export type Screen = {
  draw(lines: readonly StyledLine[]): Promise<void>;
  /** Leaves the last picture where it is, and the cursor below it. */
  end(): Promise<void>;
};

const clear = '\x1b[2J';
const home = '\x1b[H';
const toLineEnd = '\x1b[K';
const toScreenEnd = '\x1b[J';
const hideCursor = '\x1b[?25l';
const showCursor = '\x1b[?25h';
// A terminal that knows it shows the whole picture at once; any other ignores it.
const beginPicture = '\x1b[?2026h';
const endPicture = '\x1b[?2026l';

export function createScreen(print: (text: string) => Promise<void>, size: () => Size, colours: boolean): Screen {
  let drawnIn: Size | null = null;
  return {
    async draw(lines) {
      const { columns, rows } = size();
      // The text of a window that changed its size is somewhere else.
      const isNew = drawnIn?.columns !== columns || drawnIn.rows !== rows;
      drawnIn = { columns, rows };
      const shown = cutToHeight(lines, rows - 1).map((line) => `${styledText(line, colours, columns)}${toLineEnd}\n`);
      const start = isNew ? hideCursor + clear + home : home;
      await print(`${beginPicture}${start}${shown.join('')}${toScreenEnd}${endPicture}`);
    },
    async end() {
      if (drawnIn !== null) await print(showCursor);
      drawnIn = null;
    },
  };
}

function cutToHeight(lines: readonly StyledLine[], height: number): readonly StyledLine[] {
  if (lines.length <= height) return lines;
  const kept = Math.max(0, height - 1);
  return [...lines.slice(0, kept), [[`… ${lines.length - kept} more lines: make the window taller`, 'dim']]];
}

/**
 * A progress bar on one line, redrawn in place: for a terminal, and only when there is much to do.
 *
 * It is drawn at most ten times a second, and taken away without a trace when the work is done.
 */

export type Progress = {
  update(done: number, total: number): void;
  clear(): void;
};

const totalMin = 50;
const redrawAfterMs = 100;
const barWidth = 30;
const toLineStart = '\r\x1b[K';

/** `print` writes to a terminal `width()` columns wide. */
function progressBar(label: string, print: (text: string) => void, width: () => number, nowMs: () => number): Progress {
  let drawnAtMs: number | null = null;
  return {
    update(done, total) {
      const now = nowMs();
      if (total < totalMin || (drawnAtMs !== null && now - drawnAtMs < redrawAfterMs && done < total)) return;
      drawnAtMs = now;
      print(toLineStart + cutToWidth(barLine(label, done, total), width() - 1));
    },
    clear() {
      if (drawnAtMs !== null) print(toLineStart);
      drawnAtMs = null;
    },
  };
}

function barLine(label: string, done: number, total: number): string {
  const share = Math.min(1, done / total);
  const filled = Math.round(share * barWidth);
  const bar = '█'.repeat(filled) + '░'.repeat(barWidth - filled);
  return `${label} ${bar} ${Math.floor(share * 100)} % (${done} of ${total})`;
}
