/**
 * Reads what a delivery program says in prose: whom the mail did not reach, and why.
 *
 * Programs differ in words but hardly in form: a line that begins with the address and goes on with the reason, a
 * label before the address, a sentence that names it, a transcript of the SMTP session. The strongest form that is
 * there counts. The mail that came back is cut off first, so that its addresses are none of a recipient.
 */
import { addressesIn, type Found } from './bounce-addresses.ts';
import { reasonIn } from './bounce-reasons.ts';
import { oneLine } from './bounce-status.ts';
import { saysFailure } from './kinds/failure-words.ts';

/** What is read of a text; reports are shorter, the mails in them are not. */
const reportMax = 16_000;
const recipientsMax = 200;

/** The line after which the mail that came back begins. */
const originalLines: readonly RegExp[] = [
  /^[^\p{L}\n]{0,40}(?:this is a copy of|below this line is|(?:the )?(?:headers?|body|text|copy|first \d+ lines|start|beginning)[\w ]{0,20} of (?:the |your )?(?:original|returned|unsent|message(?! generated))|original (?:message|mail|e-?mail)|(?:returned|unsent|undelivered) (?:message|mail|text)|message (?:headers?|text|contents?|body) follow|your (?:original )?message (?:follows|text)|mensaje original|message d'origine|ursprüngliche nachricht|originalnachricht|messaggio originale|mensagem original|original mail info|message log|オリジナル|元のメール|原始邮件|원본)/iu,
  /^(?:[^\p{L}\n]{2,40}|(?:here is )?(?:a |the |your )?(?=(?:copy|first|header|original|returned|text|body|full)))[\w' ]{0,60}(?:original|returned|unsent|undelivered|message|mail)[\w ,']{0,60}\b(?:follows?|below|following|attached|including all headers)\b[^\n]{0,40}$/iu,
  /^(?:>\s?)?(?:Received: (?:from|by|\()|Return-Path: ?<|DKIM-Signature: |X-Apparently-To: |Delivered-To: |From [^\s]{1,200} {1,2}[A-Z][a-z]{2} )/u,
];

/** The words of the report itself, without the mail that came back. */
export function reportWords(text: string): string {
  const start = text.slice(0, reportMax).replace(/\r\n?/gu, '\n');
  const lines = start.split('\n');
  const cut = lines.findIndex((line, index) => index > 0 && isOriginalLine(line) && hasWords(lines, index));
  return cut < 0 ? start : lines.slice(0, cut).join('\n');
}

function isOriginalLine(line: string): boolean {
  return line.length < 300 && originalLines.some((pattern) => pattern.test(line.trim()));
}

/** Not the first words of the text: some programs send the addresses after them. */
function hasWords(lines: readonly string[], index: number): boolean {
  return lines.slice(0, index).some((line) => /@|\p{L}{3}/u.test(line));
}

/** A recipient that the text names, and what it says of it. */
export type Told = { readonly address: string; readonly words: string; readonly diagnostic: string };

/** The recipients that the words of a report name. `strangers` are addresses that are none: ours, the server's. */
export function recipientsIn(words: string, strangers: ReadonlySet<string>): readonly Told[] {
  const isContact = (address: string) => /^(?:post-?ma?ster|mailer-daemon|abuse|support|help\w*)@/iu.test(address);
  const found = forms.map((form) => form(words));
  const isStranger = (address: string) => strangers.has(address.toLowerCase()) || isContact(address);
  // Rather a stranger than nobody: a mail to oneself comes back too.
  for (const isOut of [isStranger, isContact, () => false]) {
    const best = found.map((some) => some.filter(({ address }) => !isOut(address))).find((some) => some.length > 0);
    if (best !== undefined) return tell(words, best);
  }
  return [];
}

/**
 * Users of the reporting server itself, whom some (AOL) name without their domain: single words on the lines after a
 * sentence that says failure. `domain` is the server's.
 */
export function localRecipientsIn(words: string, domain: string): readonly string[] {
  const lines = words.slice(0, 4000).split('\n');
  const start = lines.findIndex((line) => /:\s{0,3}$/u.test(line) && saysFailure(line));
  const after = lines.slice(start + 1).map((line) => line.trim());
  const first = after.findIndex((line) => line !== '');
  if (start < 0 || first < 0 || domain === '') return [];
  const names = after.slice(first, first + recipientsMax);
  const end = names.findIndex((line) => !/^[\w.+-]{2,64}$/u.test(line));
  return names.slice(0, end < 0 ? undefined : end).map((name) => `${name}@${domain}`);
}

/** Whether the words name anybody but `strangers` (in small letters) as a recipient. */
export function namesRecipient(words: string, strangers: ReadonlySet<string>): boolean {
  return forms.some((form) => form(words).some(({ address }) => !strangers.has(address.toLowerCase())));
}

type Form = (words: string) => readonly Found[];

const forms: readonly Form[] = [afterLabel, atLineStart, inSentences, inReplies, inTranscript];

/** Each address once, with the words from where it stands to where the next one does. */
function tell(words: string, found: readonly Found[]): readonly Told[] {
  const seen = new Set<string>();
  const firsts = found.filter(({ address }) => {
    const isFirst = !seen.has(address.toLowerCase());
    seen.add(address.toLowerCase());
    return isFirst;
  });
  return firsts.slice(0, recipientsMax).map(({ address, start }, index) => {
    const isOnly = firsts.length === 1;
    const own = isOnly
      ? words
      : words.slice(lineStart(words, start), lineStart(words, firsts[index + 1]?.start ?? words.length + 1));
    return { address, words: own.slice(0, 4000), diagnostic: diagnosticIn(own.slice(0, 4000), address) };
  });
}

function lineStart(words: string, at: number): number {
  return at > words.length ? words.length : words.lastIndexOf('\n', at) + 1;
}

/**
 * `Original address: a@b` (PMDF), `Recipient: [SMTP:a@b]` (MailEnable), `Addressed To: a@b` (SurfControl). Where the
 * address that the sender wrote has a label of its own, it counts.
 */
function afterLabel(words: string): readonly Found[] {
  for (const label of [
    /^[ \t]*Original address: /gimu,
    /^[ \t>*-]{0,12}(?:Recipient(?: address)?|Failed recipient|Addressed to|Invalid recipient|Intended recipient|Destinataire|Destinatario|Empfänger|宛先)(?:\(s\))? ?[:：]/gimu,
  ]) {
    const found = [...words.matchAll(label)].flatMap(({ index, 0: text }) =>
      firstOf(words, index + text.length, words.indexOf('\n', index + text.length)),
    );
    if (found.length > 0) return found;
  }
  return [];
}

function firstOf(words: string, from: number, to: number): readonly Found[] {
  return addressesIn(words.slice(from, to < 0 ? undefined : to))
    .slice(0, 1)
    .map(({ address, start, end }) => ({ address, start: start + from, end: end + from }));
}

const before = /^[\s>*•·"'<([-]*(?:(?:mailto|smtp|rfc822|to)[:;= ]\s?)?[<"']?$/iu;
const after =
  /^[>"')\]]*\s*(?:$|[:;,([<]|\.\.\.|-+\s|on \w|was|is |does|did|unknown|user|\d{3}[ -]|=|(?:invalid|error|no|host|not|has|delivery|mailbox|failed|rejected|account)\b)/iu;

/** `<a@b>: reason` (Postfix, qmail), `  a@b` (Exim, Gmail), `a@b on Mon, ...` (Exchange), `a@b (reason)` (GroupWise). */
function atLineStart(words: string): readonly Found[] {
  const found: Found[] = [];
  const introduction = words.search(/\p{L}/u);
  for (let start = Math.max(introduction, 0); start < words.length; ) {
    const next = words.indexOf('\n', start);
    const end = next < 0 ? words.length : next;
    const line = words.slice(start, end);
    const first = line.includes('@') ? addressesIn(line)[0] : undefined;
    if (first !== undefined && before.test(line.slice(0, first.start)) && after.test(line.slice(first.end)))
      found.push({ address: first.address, start: start + first.start, end: start + first.end });
    start = end + 1;
  }
  return found;
}

const leadsToRecipient =
  /(?:\b(?:to|for|addressed to|recipients?|address|e-?mail|user|userid|mailbox|account|full|size|into|message-id in|list|group|à|a|an|para|per|al|aan|till|til|do|для|на|quota)\b[^\n@]{0,14}|[:,(]\s{0,3})["'<(]{0,2}$/iu;

/** `Your message to a@b could not be delivered`: a sentence that says failure and names whom it was for. */
function inSentences(words: string): readonly Found[] {
  const found: Found[] = [];
  let start = 0;
  for (const sentence of words.split(/(?<=\n[ \t]{0,20}\n|[.!?:][ \n](?=\p{Lu}))/u)) {
    const text = sentence.replace(/\n/gu, ' ');
    const addresses = text.includes('@') ? addressesIn(text) : [];
    if (addresses.length > 0 && (saysFailure(text.slice(0, 2000)) || reasonIn(text) !== null)) {
      for (const { address, start: at, end } of addresses) {
        if (
          leadsToRecipient.test(text.slice(Math.max(0, at - 80), at)) &&
          !isSender.test(text.slice(Math.max(0, at - 40), at))
        )
          found.push({ address, start: start + at, end: start + end });
      }
    }
    start += sentence.length;
  }
  return found;
}

const isSender =
  /(?:\b(?:contact|from|by|sender|reply to|send (?:mail|an e-?mail) to|write to|von|de|mail|help at)\b|from:)[\s:"'<]{0,4}$/iu;

/** `550 <a@b>... User unknown`, as sendmail ends its transcript. */
function inReplies(words: string): readonly Found[] {
  return [
    ...words.matchAll(/^[45]\d\d (?:[45]\.\d{1,3}\.\d{1,3} )?<?(?=[^\s<>@]{1,128}@[^\n]{1,255}\.\.\.)/gmu),
  ].flatMap(({ index, 0: text }) => firstOf(words, index + text.length, words.indexOf('\n', index)));
}

/** The commands of the SMTP session. */
function inTranscript(words: string): readonly Found[] {
  return [...words.matchAll(/\bRCPT TO: ?</giu), ...words.matchAll(/\bRCPT TO: ?(?=[^<\s])/giu)].flatMap(
    ({ index, 0: text }) => firstOf(words, index + text.length, words.indexOf('\n', index + text.length)),
  );
}

/** The line that tells most: one with a reply code of SMTP, else one that names a reason. */
export function diagnosticIn(words: string, address: string): string {
  const lines = words.split('\n').map((line) => line.trim());
  const withCode = lines.findIndex(
    (line) => /(?:^|[\s:'"(])[45]\d\d[- #:]/u.test(line) && !/^(?:>>>|EHLO|MAIL FROM)/iu.test(line),
  );
  if (withCode >= 0) return oneLine(withNext(lines, withCode).replace(/^<<< |^\(reason: /u, ''));
  const labelled = lines.find((line) =>
    /^(?:reason|error|cause|grund|motif|motivo|diagnostic code)\b[^\n:]{0,20}: ?\S/iu.test(line),
  );
  if (labelled !== undefined) return oneLine(labelled.replace(/^[^:]{1,40}: ?/u, ''));
  const withReason = lines.find(
    (line) => line !== '' && !/^[-=*_#]{2}/u.test(line) && reasonIn(line.replaceAll(address, '')) !== null,
  );
  return oneLine(withReason ?? '');
}

/** A line and what it goes on with, up to an empty line. */
function withNext(lines: readonly string[], index: number): string {
  const rest = lines.slice(index, index + 6);
  const end = rest.findIndex(
    (line, at) => at > 0 && (line === '' || /^(?:<<<|>>>|\d{3} |-{3}|[<\w][^\s]*@)/u.test(line)),
  );
  return rest.slice(0, end < 0 ? undefined : end).join(' ');
}
