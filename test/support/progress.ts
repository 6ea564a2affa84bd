/**
 * Progress display of the campaign: on a terminal one line that continues, with time and count; elsewhere one
 * line for each thing that begins.
 */

export type Progress = {
  /** What continues from now on. */
  now(text: string): void;
  /** The same, for a terminal alone. */
  meanwhile(text: string): void;
  /** Worth a line of its own. */
  news(text: string): void;
  /** Shown beside it until it is disposed. */
  counting(count: () => string): Disposable;
} & Disposable;

const everyMs = 500;
const columnsUsual = 80;
const clearLine = '\r\u001b[2K';

/** `minutes`: how long it takes in all, beside start and end; null: not known. */
export function showProgress(stream: NodeJS.WriteStream, minutes: number | null): Progress {
  const startedAt = performance.now();
  const whole = minutes === null ? '' : ` of ${minutes}:00`;
  let doing = '';
  let count: (() => string) | null = null;
  const line = (text: string): string =>
    [`${timeText(performance.now() - startedAt)}${whole}`, text, ...(count === null ? [] : [count()])].join(' · ');
  const paint = (): void =>
    void stream.write(`${clearLine}${line(doing).slice(0, (stream.columns || columnsUsual) - 1)}`);
  const ticking = stream.isTTY ? setInterval(paint, everyMs) : null;
  return {
    now: (text) => {
      doing = text;
      if (stream.isTTY) paint();
      else stream.write(`${line(text)}\n`);
    },
    meanwhile: (text) => {
      doing = text;
    },
    news: (text) => void stream.write(`${stream.isTTY ? clearLine : ''}${line(text)}\n`),
    counting: (told) => {
      count = told;
      return {
        [Symbol.dispose]: () => {
          count = null;
        },
      };
    },
    [Symbol.dispose]: () => {
      if (ticking === null) return;
      clearInterval(ticking);
      stream.write(clearLine);
    },
  };
}

function timeText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
