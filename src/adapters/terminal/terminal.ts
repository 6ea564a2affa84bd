/**
 * Terminal I/O of the commands: lines, tables, JSON, questions, passwords, progress.
 *
 * Text passes through `printable`, so no control sequence of a message reaches the terminal. Every write waits for a
 * slow reader, so the memory of a long listing is bounded. Results go to standard output, everything else to standard
 * error. Colours on a terminal only, and not when NO_COLOR is set (no-color.org).
 */

import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { Failure } from '../../errors.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { jsonLine, printableLine, printableText } from '../../text/printable.ts';
import { asRunHere } from '../../text/program-name.ts';
import { type Keyboard, promptPassword, readPasswordToEnd, type SecretKind } from './password.ts';
import { createScreen, type Progress, progressBar, type Screen, type ScreenSize, silentProgress } from './screen.ts';
import {
  type Column,
  inStyle,
  type Style,
  type StyledLine,
  styledText,
  tableLines,
  wrappedProse,
} from './text-layout.ts';

type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };
type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean };

export type TerminalStreams = {
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
  /** False: no colours, whatever the streams are. */
  readonly colours: boolean;
  readonly nowMs: () => number;
};

export interface Terminal {
  /** True when standard output is a terminal. */
  readonly isInteractive: boolean;
  /** One result line, made printable, in `style` where colours are shown. */
  line(text: string, style?: Style): Promise<void>;
  /** A sentence, in lines that fit the terminal; elsewhere one line. */
  prose(text: string, style?: Style): Promise<void>;
  /** Text of several lines, made printable. */
  text(text: string): Promise<void>;
  /** Bytes as they are. Throws `usage` where standard output is a terminal. */
  bytes(content: Uint8Array): Promise<void>;
  json(value: unknown): Promise<void>;
  table(columns: readonly Column[], rows: readonly (readonly string[])[]): Promise<void>;
  /** Columns and rows of the terminal at standard output; null where it is none. */
  size(): ScreenSize | null;
  /** Result lines, made printable; nothing is cut. */
  styled(lines: readonly StyledLine[]): Promise<void>;
  /** A full-screen picture. Throws `usage` where standard output is no terminal. */
  screen(): Promise<Screen>;
  /** A sentence on standard error: for people, never for scripts. */
  note(text: string, style?: Style): void;
  /** A note of this program with commands, which are shown as they run here. */
  advice(text: string, style?: Style): void;
  /** Shows the current stage in place on standard error, if it is a terminal; '' removes it. */
  stage(text: string): void;
  progress(label: string): Promise<Progress>;
  /** True for yes. Throws `usage` without a terminal. */
  confirm(question: string, otherwise: string): Promise<boolean>;
  /** From the prompt. Throws `password_missing` without a terminal. */
  askPassword(question: string): Promise<SecretBytes>;
  /** All of standard input, for `--password-stdin`. */
  readPassword(): Promise<SecretBytes>;
  /** Another secret: from the prompt at a terminal, without an echo, else all of standard input. */
  readSecret(question: string, kind: SecretKind): Promise<SecretBytes>;
}

export function openTerminal(streams: TerminalStreams): Terminal {
  const { stdin, stdout, stderr } = streams;
  const out = (text: string): Promise<void> => writeAll(stdout, text);
  const err = (text: string): void => void stderr.write(text);
  const widthOf = (output: Output): number => output.columns ?? 80;
  const note = (text: string, style?: Style): void => {
    for (const line of proseLines(stderr, text)) err(`${styled(streams, stderr, line, style)}\n`);
  };
  return {
    isInteractive: stdout.isTTY === true,
    line: (text, style) => out(`${styled(streams, stdout, printableLine(text), style)}\n`),
    async prose(text, style) {
      for (const line of proseLines(stdout, text)) await out(`${styled(streams, stdout, line, style)}\n`);
    },
    text: (text) => out(`${printableText(text)}\n`),
    async bytes(content) {
      if (stdout.isTTY === true) throw new Failure('usage', 'standard output is a terminal');
      await writeAll(stdout, content);
    },
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
      if (stdout.isTTY !== true) throw new Failure('usage', 'standard output is not a terminal');
      return createScreen(out, () => sizeOf(stdout) ?? { columns: 80, rows: 24 }, streams.colours);
    },
    note,
    advice: (text, style) => note(asRunHere(text), style),
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
      // Typed at a terminal: without an echo, too.
      if (isKeyboard(stdin)) return promptPassword('Password: ', stdin, err);
      return readPasswordToEnd(stdin as AsyncIterable<Uint8Array | string>);
    },
    readSecret(question, kind) {
      if (isKeyboard(stdin)) return promptPassword(question, stdin, err, kind);
      return readPasswordToEnd(stdin as AsyncIterable<Uint8Array | string>, kind);
    },
  };
}

function styled(streams: TerminalStreams, output: Output, text: string, style: Style | undefined): string {
  if (style === undefined || output.isTTY !== true || !streams.colours) return text;
  return inStyle(text, style);
}

function proseLines(output: Output, text: string): readonly string[] {
  const size = sizeOf(output);
  return size === null ? [printableLine(text)] : wrappedProse(text, size.columns);
}

/** A terminal of unknown size reports 0. */
function sizeOf(output: Output): ScreenSize | null {
  return output.isTTY === true ? { columns: output.columns || 80, rows: output.rows || 24 } : null;
}

async function writeAll(output: Output, text: string | Uint8Array): Promise<void> {
  if (!output.write(text)) await once(output, 'drain');
}

function isKeyboard(input: Input): input is Input & Keyboard {
  return input.isTTY === true && 'setRawMode' in input;
}

async function confirm({ stdin, stderr }: TerminalStreams, question: string, otherwise: string): Promise<boolean> {
  if (stdin.isTTY !== true) throw new Failure('usage', 'there is no terminal to ask at', { hint: otherwise });
  using questions = createInterface({ input: stdin, output: stderr });
  // Ctrl-C and Ctrl-D close the interface without an answer: no.
  const closed = once(questions, 'close').then(() => '');
  const asked = questions.question(`${question} [y/N] `).catch(() => '');
  const answer = await Promise.race([asked, closed]);
  return /^y(es)?$/i.test(answer.trim());
}
