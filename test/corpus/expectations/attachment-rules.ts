/**
 * Comparison of stated attachments. A stated one is looked for by its hash, then its name, then its place; what is
 * stated of it besides must hold of that very part.
 *
 * Every suite counts by rules of its own. What those rules count that ours do not, or the other way, is a known
 * difference of the message, with its reason; a rule that shows in what is stored is applied here (`counted`).
 */
import { sameText } from './loose.ts';
import type { Check, Rule, Subject } from './rules.ts';
import type { StoredAttachment } from './stored.ts';

type StatedAttachment = {
  readonly name?: string | null;
  readonly type?: string;
  readonly size?: number;
  readonly sha256?: string;
  readonly disposition?: string;
  readonly inline?: boolean;
  readonly content_id?: string;
};

export const attachmentRules: Readonly<Record<string, Rule>> = {
  attachments: (value: readonly StatedAttachment[], { stored }) => {
    const parts = paired(value, stored.attachments);
    return value.flatMap((stated, index) => attachmentChecks(stated, parts[index] ?? null, stored.attachments));
  },
  attachment_count: (value: number, subject) => count('attachment_count', value, subject.stored.attachments),
  attachment_count_nonempty: (value: number, { stored }) =>
    count(
      'attachment_count_nonempty',
      value,
      stored.attachments.filter(({ size }) => size > 0),
    ),
  attachment_count_excluding_inline: (value: number, { stored }) =>
    count(
      'attachment_count_excluding_inline',
      value,
      stored.attachments.filter(({ inline }) => !inline),
    ),
  // Pictures that the HTML shows from within the message.
  embedded_count: (value: number, { stored }: Subject) => {
    const html = stored.html ?? '';
    const shown = stored.attachments.filter(({ content_id: id }) => id !== null && html.includes(`cid:${id}`));
    return count('embedded_count', value, shown);
  },
};

function count(field: string, value: number, parts: readonly StoredAttachment[]): readonly Check[] {
  return [{ field, met: parts.length === value, expected: value, got: parts.map(named) }];
}

function named({ name, type, size }: StoredAttachment): string {
  return `${name} (${type}, ${size})`;
}

/** Each part stands for one stated attachment at most: first those that are sure, then the others in their order. */
function paired(
  stated: readonly StatedAttachment[],
  parts: readonly StoredAttachment[],
): readonly (StoredAttachment | undefined)[] {
  const left = new Set(parts);
  const take = (is: (part: StoredAttachment) => boolean): StoredAttachment | undefined => {
    const found = [...left].find(is);
    if (found !== undefined) left.delete(found);
    return found;
  };
  const sure = stated.map(({ name, sha256 }) => {
    const bySha = sha256 === undefined ? undefined : take((part) => part.sha256 === sha256);
    return bySha ?? (typeof name === 'string' ? take((part) => sameText(name, part.name)) : undefined);
  });
  return sure.map(
    (part, index) => part ?? take((other) => other === parts[index]) ?? take((other) => likely(stated[index], other)),
  );
}

function likely(stated: StatedAttachment | undefined, part: StoredAttachment): boolean {
  return stated?.type === undefined || stated.type === part.type;
}

function attachmentChecks(
  stated: StatedAttachment,
  part: StoredAttachment | null,
  all: readonly StoredAttachment[],
): readonly Check[] {
  const { name, type, size, sha256, disposition, inline, content_id } = stated;
  const got = part ?? all.map(named);
  const checks: Check[] = [];
  const add = (aspect: string, met: boolean, expected: unknown) =>
    checks.push({ field: `attachment ${aspect}`, met, expected, got });
  // Without a name of its own a part is called after its type by us, and by each suite otherwise.
  if (typeof name === 'string' && !isHashName(name)) add('name', part !== null && sameText(name, part.name), name);
  if (type !== undefined) add('type', part?.type === type.toLowerCase(), type);
  if (size !== undefined) add('size', part?.size === size, size);
  if (sha256 !== undefined) add('sha256', part?.sha256 === sha256, sha256);
  if (disposition !== undefined) add('disposition', part?.inline === (disposition === 'inline'), disposition);
  if (inline !== undefined) add('inline', part?.inline === inline, inline);
  if (content_id !== undefined) add('content_id', part?.content_id === content_id.replace(/^<|>$/gu, ''), content_id);
  return checks;
}

/** One suite calls a part without a name by eight digits of a hash of its own: no statement about the message. */
function isHashName(name: string): boolean {
  return /^[0-9a-f]{8}$/u.test(name);
}
