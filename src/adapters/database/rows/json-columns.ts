/**
 * JSON columns of messages, checked for shape: another program may have written them.
 *
 * A value of another shape is left out, and a text that is no JSON counts as empty: one row must not stop the messages
 * that refer to it.
 */
import type { Address, Bounce, Header, Mark } from '../../../mail/message.ts';

export function addressesFrom(json: unknown): readonly Address[] {
  return arrayFrom(json, isAddress);
}

/** null for anything but one address. */
export function addressFrom(json: unknown): Address | null {
  const value = parsed(json);
  return isAddress(value) ? value : null;
}

export function textsFrom(json: unknown): readonly string[] {
  return arrayFrom(json, isText);
}

export function headersFrom(json: unknown): readonly Header[] {
  return arrayFrom(json, (value): value is Header => isTexts(value) && value.length === 2);
}

export function marksFrom(json: unknown): readonly Mark[] {
  return arrayFrom(json, (value): value is Mark => {
    const { kind, start, end } = fieldsOf(value);
    return (kind === 'quote' || kind === 'signature') && Number.isSafeInteger(start) && Number.isSafeInteger(end);
  });
}

/** null for anything but a report with recipients. */
export function bounceFrom(json: unknown): Bounce | null {
  const value = parsed(json);
  const { recipients, hard } = fieldsOf(value);
  const isReport =
    typeof hard === 'boolean' && Array.isArray(recipients) && recipients.every((one) => isText(fieldsOf(one).address));
  return isReport ? (value as Bounce) : null;
}

function arrayFrom<T>(json: unknown, isOne: (value: unknown) => value is T): readonly T[] {
  const value = parsed(json);
  return Array.isArray(value) ? value.filter(isOne) : [];
}

function parsed(json: unknown): unknown {
  if (!isText(json)) return null;
  try {
    return JSON.parse(json);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function isAddress(value: unknown): value is Address {
  const { name, address } = fieldsOf(value);
  return isText(name) && isText(address);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isText);
}
