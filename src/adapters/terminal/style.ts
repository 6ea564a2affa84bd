/** Colours and weight of text on a terminal, by name. */
import { styleText } from 'node:util';

const formats = {
  bold: ['bold'],
  green: ['green'],
  red: ['red'],
  yellow: ['yellow'],
  dim: ['dim'],
  'bold green': ['bold', 'green'],
  'bold red': ['bold', 'red'],
  'bold yellow': ['bold', 'yellow'],
} as const;

export type Style = keyof typeof formats;

/** `text` in a style, as a terminal understands it. */
export function inStyle(text: string, style: Style): string {
  return styleText([...formats[style]], text, { validateStream: false });
}
