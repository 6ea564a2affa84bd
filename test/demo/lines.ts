/**
 * The lines that the demo shows for stored messages: reference, subject, sender, what happened.
 *
 * Columns are counted as a terminal shows them, East Asian letters and pictures two wide. What is too long is cut;
 * attachments have a line of their own.
 */

/** As `message list --full --json` prints it, as far as it is shown here. */
export type ListedMessage = {
  readonly uid: number;
  readonly outcome: string;
  readonly reason: string | null;
  readonly ticket: string | null;
  readonly subject?: string;
  readonly kind?: string;
  readonly from?: { readonly name: string; readonly address: string } | null;
  readonly attachments?: readonly { readonly name: string }[];
};

const referenceColumns = 13;
const senderColumns = 16;
const happenedColumns = 'new ticket'.length;
const subjectColumnsMax = 40;
const gap = '  ';
const wideLetter =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff01-\uff60\p{Emoji_Presentation}]|ー/u;

/** The lines of a message for a terminal of that many columns; a pipe has 100. */
export function messageLines(message: ListedMessage, columns = 100): readonly string[] {
  const sender = message.from?.name || message.from?.address || '(no sender)';
  const others = referenceColumns + senderColumns + happenedColumns + 3 * gap.length;
  const subjectColumns = Math.min(subjectColumnsMax, Math.max(10, columns - others));
  const cells = [column(message.subject ?? '', subjectColumns), column(sender, senderColumns)];
  const line = [(message.ticket ?? '(none)').padEnd(referenceColumns), ...cells, whatHappened(message)].join(gap);
  const { kind, attachments = [] } = message;
  // The parts of a delivery report are kept as attachments too, but say nothing to a reader.
  if (kind === 'bounce' || attachments.length === 0) return [line];
  const files = attachments.map((one) => one.name).join(', ');
  return [line, `${' '.repeat(referenceColumns)}${gap}with ${files}`];
}

function whatHappened({ outcome, reason, kind }: ListedMessage): string {
  if (outcome === 'ticket_opened') return 'new ticket';
  if (outcome === 'reply_added') return kind === 'bounce' ? 'bounce' : 'reply';
  return reason === null ? outcome : `${outcome}: ${reason}`;
}

/** `text` cut or filled up to a width. */
function column(text: string, columns: number): string {
  const shown = widthOf(text) > columns ? `${leading(text, columns - 1)}…` : text;
  return shown + ' '.repeat(columns - widthOf(shown));
}

/** As many letters from the start as fit. */
function leading(text: string, columns: number): string {
  let shown = '';
  for (const letter of text) {
    if (widthOf(shown + letter) > columns) break;
    shown += letter;
  }
  return shown;
}

function widthOf(text: string): number {
  return [...text].reduce((columns, letter) => columns + (wideLetter.test(letter) ? 2 : 1), 0);
}
