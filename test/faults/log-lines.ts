/** Log of one worker over all its processes: lines with the time of their arrival. */

export type PrintedLine = { readonly atMs: number; readonly text: string };

export type Printed = {
  readonly lines: readonly PrintedLine[];
  /** For a stream of a process. A last line without an end belongs to a process that was killed. */
  feeder(): (piece: string) => void;
  /** Lines between two times that are not about one message. */
  countBetween(fromMs: number, untilMs: number): number;
};

export function collectLines(): Printed {
  const lines: PrintedLine[] = [];
  return {
    lines,
    feeder: () => {
      let unfinished = '';
      return (piece) => {
        const parts = (unfinished + piece).split('\n');
        unfinished = parts.pop() ?? '';
        const atMs = Date.now();
        for (const text of parts) lines.push({ atMs, text });
      };
    },
    countBetween: (fromMs, untilMs) =>
      lines.filter(
        ({ atMs, text }) =>
          atMs >= fromMs && atMs <= untilMs && !text.includes('"event":"message.') && !text.includes('"poll.finished"'),
      ).length,
  };
}
