/**
 * Delivery reports in prose: recipients that the text names and the reasons it gives, and subjects and sentences of
 * failure in some thirty languages.
 *
 * Programs differ in words but hardly in form: a line that begins with the address and continues with the reason, a
 * label before the address, a sentence that names it, an SMTP transcript. The strongest form present counts. The
 * original message is cut off first, so that its addresses are not taken for recipients. All patterns are free of
 * nested repeats, since they match untrusted text. Never fails.
 */
import { reasonIn } from './reasons.ts';
import { oneLine } from './status.ts';

/** Characters of a text that are read; reports are shorter, the original messages in them are not. */
const reportMax = 16_000;
const recipientsMax = 200;

/** The line after which the original message begins. */
const originalLines: readonly RegExp[] = [
  /^[^\p{L}\n]{0,40}(?:this is a copy of|below this line is|(?:the )?(?:headers?|body|text|copy|first \d+ lines|start|beginning)[\w ]{0,20} of (?:the |your )?(?:original|returned|unsent|message(?! generated))|original (?:message|mail|e-?mail)|(?:returned|unsent|undelivered) (?:message|mail|text)|message (?:headers?|text|contents?|body) follow|your (?:original )?message (?:follows|text)|mensaje original|message d'origine|ursprüngliche nachricht|originalnachricht|messaggio originale|mensagem original|original mail info|message log|オリジナル|元のメール|原始邮件|원본)/iu,
  /^(?:[^\p{L}\n]{2,40}|(?:here is )?(?:a |the |your )?(?=(?:copy|first|header|original|returned|text|body|full)))[\w' ]{0,60}(?:original|returned|unsent|undelivered|message|mail)[\w ,']{0,60}\b(?:follows?|below|following|attached|including all headers)\b[^\n]{0,40}$/iu,
  /^(?:>\s?)?(?:Received: (?:from|by|\()|Return-Path: ?<|DKIM-Signature: |X-Apparently-To: |Delivered-To: |From [^\s]{1,200} {1,2}[A-Z][a-z]{2} )/u,
];

/** The words of the report itself, without the original message. */
export function reportWords(text: string): string {
  const start = text.slice(0, reportMax).replace(/\r\n?/gu, '\n');
  const lines = start.split('\n');
  const cut = lines.findIndex((line, index) => index > 0 && isOriginalLine(line) && hasWords(lines, index));
  return cut < 0 ? start : lines.slice(0, cut).join('\n');
}

function isOriginalLine(line: string): boolean {
  return line.length < 300 && originalLines.some((pattern) => pattern.test(line.trim()));
}

/** True where words precede the line; some programs begin with such a line and put the addresses after it. */
function hasWords(lines: readonly string[], index: number): boolean {
  return lines.slice(0, index).some((line) => /@|\p{L}{3}/u.test(line));
}

// Addresses in prose, as people and servers write them; no full parser of RFC 5321. The cost is linear in the text.

type AddressMatch = { readonly address: string; readonly start: number; readonly end: number };

const localMax = 128;
const domainMax = 255;
/** Non-ASCII letters (RFC 6531) only of scripts that separate words by blanks, so that no sentence is swallowed. */
const localPart = /[\w!#$%&'*+/=?^`{|}~.\u00c0-\u024f\u0370-\u052f-]/u;
const domainPart = /[\w.\u00c0-\u024f\u0370-\u052f-]/u;

export function addressesIn(text: string): readonly AddressMatch[] {
  const found: AddressMatch[] = [];
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    const start = localStart(text, at);
    const end = domainEnd(text, at + 1);
    const address = text.slice(start, end);
    if (start < at && /@[^@]*[^@.]$/u.test(address) && end > at + 1) found.push({ address, start, end });
  }
  return found;
}

function localStart(text: string, at: number): number {
  const quote = text[at - 1] === '"' ? text.lastIndexOf('"', at - 2) : -1;
  if (quote >= 0 && at - quote <= localMax && !text.slice(quote, at).includes('\n')) return quote;
  let start = at;
  while (start > 0 && at - start < localMax && localPart.test(text[start - 1] ?? '')) start -= 1;
  // Quotation marks and markup around an address do not belong to it.
  while (start < at && /['`*=|{}/&~]/u.test(text[start] ?? '') && !text.startsWith('=?', start)) start += 1;
  return start;
}

function domainEnd(text: string, from: number): number {
  let end = from;
  while (end < text.length && end - from < domainMax && domainPart.test(text[end] ?? '')) end += 1;
  while (end > from && /[.\-_]/u.test(text[end - 1] ?? '')) end -= 1;
  return end;
}

// Recipients

export type NamedRecipient = { readonly address: string; readonly words: string; readonly diagnostic: string };

type Form = (words: string) => readonly AddressMatch[];

const forms: readonly Form[] = [afterLabel, atLineStart, inSentences, inReplies, inTranscript];

/**
 * The recipients that a report names. `excluded` are addresses that are none (in lower case): its sender and receiver.
 */
export function recipientsIn(words: string, excluded: ReadonlySet<string>): readonly NamedRecipient[] {
  const isContactAddress = (address: string) =>
    /^(?:post-?ma?ster|mailer-daemon|abuse|support|help\w*)@/iu.test(address);
  const found = forms.map((form) => form(words));
  const isExcluded = (address: string) => excluded.has(address.toLowerCase()) || isContactAddress(address);
  // An excluded address is better than none: a message to oneself can bounce too.
  for (const isRejected of [isExcluded, isContactAddress, () => false]) {
    const best = found
      .map((some) => some.filter(({ address }) => !isRejected(address)))
      .find((some) => some.length > 0);
    if (best !== undefined) return withDiagnostics(words, best);
    const others = isRejected === isExcluded ? mentionedIn(words).filter(({ address }) => !isExcluded(address)) : [];
    // Whatever the language: the only other address of a report is the one that it is about.
    if (new Set(others.map(({ address }) => address.toLowerCase())).size === 1) return withDiagnostics(words, others);
  }
  return [];
}

/** Addresses that are mentioned as neither sender, contact nor message identifier. */
function mentionedIn(words: string): readonly AddressMatch[] {
  return addressesIn(words).filter(({ start }) => {
    const before = words.slice(Math.max(lineStart(words, start), start - 40), start);
    return !isSender.test(before) && !/\bmessage-?id\b/iu.test(before);
  });
}

/** True where the words name a recipient that is not `excluded` (in lower case). */
export function namesRecipient(words: string, excluded: ReadonlySet<string>): boolean {
  return forms.some((form) => form(words).some(({ address }) => !excluded.has(address.toLowerCase())));
}

/**
 * Local users of the reporting server, which some programs (AOL) name without the domain: single words on the lines
 * after a sentence of failure. `domain` is the server's.
 */
export function localRecipientsIn(words: string, domain: string): readonly string[] {
  const lines = words.slice(0, 4000).split('\n');
  const start = lines.findIndex((line) => /:\s{0,3}$/u.test(line) && saysFailure(line));
  const following = lines.slice(start + 1).map((line) => line.trim());
  const first = following.findIndex((line) => line !== '');
  if (start < 0 || first < 0 || domain === '') return [];
  const names = following.slice(first, first + recipientsMax);
  const end = names.findIndex((line) => !/^[\w.+-]{2,64}$/u.test(line));
  return names.slice(0, end < 0 ? undefined : end).map((name) => `${name}@${domain}`);
}

/** Each address once, with the words from its line to that of the next one. */
function withDiagnostics(words: string, found: readonly AddressMatch[]): readonly NamedRecipient[] {
  const seen = new Set<string>();
  const firsts = found.filter(({ address }) => !seen.has(address.toLowerCase()) && seen.add(address.toLowerCase()));
  return firsts.slice(0, recipientsMax).map(({ address, start }, index) => {
    const isOnly = firsts.length === 1;
    const end = lineStart(words, firsts[index + 1]?.start ?? words.length + 1);
    const own = (isOnly ? words : words.slice(lineStart(words, start), end)).slice(0, 4000);
    return { address, words: own, diagnostic: diagnosticIn(own, address) };
  });
}

function lineStart(words: string, at: number): number {
  return at > words.length ? words.length : words.lastIndexOf('\n', at) + 1;
}

/**
 * `Original address: a@b` (PMDF), `Recipient: [SMTP:a@b]` (MailEnable), `Addressed To: a@b` (SurfControl). Where the
 * address that the sender wrote has a label of its own, it counts.
 */
function afterLabel(words: string): readonly AddressMatch[] {
  for (const label of [
    /^[ \t]*Original address: /gimu,
    /^[ \t>*-]{0,12}(?:Recipient(?: address)?|Failed recipient|Addressed to|Invalid recipient|Intended recipient|Destinataire|Destinatario|Empfänger|宛先)(?:\(s\))? ?[:：]/gimu,
  ]) {
    const found = addressesAfter(words, label);
    if (found.length > 0) return found;
  }
  return [];
}

/** The first address after each match, on the same line. */
function addressesAfter(words: string, pattern: RegExp): readonly AddressMatch[] {
  return [...words.matchAll(pattern)].flatMap(({ index, 0: text }) => {
    const from = index + text.length;
    const lineEnd = words.indexOf('\n', from);
    return addressesIn(words.slice(from, lineEnd < 0 ? undefined : lineEnd))
      .slice(0, 1)
      .map(({ address, start, end }) => ({ address, start: start + from, end: end + from }));
  });
}

const beforeAddress = /^[\s>*•·"'<([-]*(?:(?:mailto|smtp|rfc822|to)[:;= ]\s?)?[<"']?$/iu;
const afterAddress =
  /^[>"')\]]*\s*(?:$|[:;,([<]|\.\.\.|-+\s|on \w|was|is |does|did|unknown|user|\d{3}[ -]|=|(?:invalid|error|no|host|not|has|delivery|mailbox|failed|rejected|account)\b)/iu;

/**
 * `<a@b>: reason` (Postfix, qmail), `  a@b` (Exim, Gmail), `a@b on Mon, ...` (Exchange), `a@b (reason)` (GroupWise).
 */
function atLineStart(words: string): readonly AddressMatch[] {
  const found: AddressMatch[] = [];
  const introduction = words.search(/\p{L}/u);
  for (let start = Math.max(introduction, 0); start < words.length; ) {
    const next = words.indexOf('\n', start);
    const end = next < 0 ? words.length : next;
    const line = words.slice(start, end);
    const first = line.includes('@') ? addressesIn(line)[0] : undefined;
    if (
      first !== undefined &&
      beforeAddress.test(line.slice(0, first.start)) &&
      afterAddress.test(line.slice(first.end))
    )
      found.push({ address: first.address, start: start + first.start, end: start + first.end });
    start = end + 1;
  }
  return found;
}

const leadsToRecipient =
  /(?:\b(?:to|for|addressed to|recipients?|address|e-?mail|user|userid|mailbox|account|full|size|into|message-id in|list|group|à|a|an|para|per|al|aan|till|til|do|для|на|quota)\b[^\n@]{0,14}|[:,(]\s{0,3})["'<(]{0,2}$/iu;

const isSender =
  /(?:\b(?:contact|from|by|sender|reply to|send (?:mail|an e-?mail) to|write to|von|de|mail|help at)\b|from:)[\s:"'<]{0,4}$/iu;

/** `Your message to a@b could not be delivered`: a sentence of failure that names its recipient. */
function inSentences(words: string): readonly AddressMatch[] {
  const found: AddressMatch[] = [];
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

/** `550 <a@b>... User unknown`, as sendmail ends its transcript. */
function inReplies(words: string): readonly AddressMatch[] {
  return addressesAfter(words, /^[45]\d\d (?:[45]\.\d{1,3}\.\d{1,3} )?<?(?=[^\s<>@]{1,128}@[^\n]{1,255}\.\.\.)/gmu);
}

/** The commands of the SMTP session. */
function inTranscript(words: string): readonly AddressMatch[] {
  return [/\bRCPT TO: ?</giu, /\bRCPT TO: ?(?=[^<\s])/giu].flatMap((pattern) => addressesAfter(words, pattern));
}

/** The most informative line: one with an SMTP reply code, else one that names a reason. */
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

/** A line with its continuation lines, up to an empty line. */
function withNext(lines: readonly string[], index: number): string {
  const rest = lines.slice(index, index + 6);
  const end = rest.findIndex(
    (line, at) => at > 0 && (line === '' || /^(?:<<<|>>>|\d{3} |-{3}|[<\w][^\s]*@)/u.test(line)),
  );
  return rest.slice(0, end < 0 ? undefined : end).join(' ');
}

// Sentences and headlines of failure: one row for each language or program, a part of a regular expression

/** Any words within one sentence. */
const sentencePart = '[^\\n.:]{0,60}';
const textRows: readonly string[] = [
  // The many ways to say it in English
  `(?:could|can|was|has|have|were|will|is)(?:n.t| ?not(?: yet)?)\\b${sentencePart} be(?:en)? (?:delivered|sent|transmitted|relayed)|(?:could|can)(?:n.t| ?not) be (?:delivered|sent)`,
  '(?:wasn.t|weren.t|was not|were not|not) (?:been )?(?:delivered|transmitted)|not yet been delivered|did ?n[o.]t (?:reach|receive|arrive)',
  '(?:unable|not able|failed|failure|wasn.t able|couldn.t|could not|cannot|can.t|problem|error|trying) (?:to )?(?:deliver|be delivered|sending|send the message|reach|find user)(?:ing|y)?\\b',
  'un-?deliver(?:able|ed)|non-?deliver(?:able|y)|deliver[a-z]{0,3} (?:of [^\\n]{0,80} |to [^\\n]{0,80} )?(?:has |have )?(?:failed|failure|been (?:delayed|postponed)|error|problem|incomplete)',
  `(?:message|mail|delivery|e-?mail)${sentencePart} (?:has|have|had) (?:been )?(?:permanent|fatal|transient|failed|delayed|postponed|rejected|returned|bounced)`,
  'had (?:permanent|transient|temporary|delivery)?[^\\n]{0,20}(?:errors?|problems?)|fatal (?:delivery )?errors?|following address(?:es|\\(es\\))? (?:failed|had)|failed (?:recipients?|address(?:es)?)|address(?:es)?(?:\\(es\\))? failed',
  'could not be (?:reached|contacted|found|resolved|sent)|rejected by (?:the|a) (?:remote|server|recipient)|(?:was|were|been) (?:rejected|refused) by|permanent (?:error|failure)|returned to (?:sender|you)|returning message',
  '(?:user|recipient|mailbox|account|address)[^\\n]{0,40} (?:unknown|is full|over quota|exceeds|does not exist|doesn.t exist|not found)|unknown (?:user|recipient)|no such (?:user|mailbox)|invalid (?:final delivery userid|user|recipient)|over quota|did not (?:exactly )?match|no matches|doesn.t have an? [^\\n]{1,60} account',
  'message (?:expired|delayed|undeliverable|status)|will (?:be retried|retry|keep trying|continue (?:to try|trying))|attempts? (?:will continue|to deliver)|<<< no message collected|delivery report unavailable|transcript of session|error message below|not (?:a )?member of this mailing list|duplicated message-id|queued for|not accepting mail|delivery status notification|trouble delivering|rejected recipient|may not exist|failure reasons|(?:not authorized|not allowed) to (?:send|post)|delivery (?:of the (?:e-?mail|message) )?(?:was|has been) (?:stopped|blocked)',
  // German, French
  'nicht (?:zugestellt|zustellbar|ausgeliefert|übermittelt|erreicht)|unzustellbar|zustellung[^\\n]{0,60}(?:fehlgeschlagen|nicht möglich|gescheitert|verzögert)|konnte[^\\n]{0,80} nicht [^\\n]{0,30}(?:zugestellt|übermittelt|ausgeliefert|gesendet|gefunden)|(?:zustellung|übermittlung|nachricht)[^\\n]{0,60}fehlgeschlagen',
  'n.a (?:pas |pu )(?:pu |pas )?(?:être |etre |été |ete )?(?:délivré|delivre|remis|distribué|distribue|livré|livre|envoyé|acheminé)|non (?:remis|délivré|distribué)|(?:échec|echec) (?:de|lors|d.)|impossible (?:de|d.) (?:remettre|délivrer|livrer|envoyer|distribuer)|pas pu (?:être|etre)',
  // Spanish, Portuguese, Italian
  'no (?:se )?(?:ha |pudo|puede|han )?[^\\n]{0,30}(?:entregad|entregar|enviad)[oa]?|n[aã]o (?:p[oôu]de|foi|ser[aá])[^\\n]{0,30}(?:entreg|envia)|falha na entrega|non (?:è stato|e. stato|può|puo|recapit|consegn)[^\\n]{0,40}|mancat[oa] (?:recapito|consegna)',
  // Dutch, Nordic languages, Finnish
  'niet (?:worden |kunnen )?[^\\n]{0,20}(?:bezorgd|afgeleverd|bezorgen|afleveren)|onbestelbaar|inte (?:att )?(?:leverera|levereras|levererats)|ikke (?:blive |bli |kunne )?[^\\n]{0,12}(?:leveres|leveret|levert|afleveres)|ei voit?u (?:toimittaa|lähettää)|toimit[^\\n]{0,20}epäonnistui',
  // Central Europe
  'nie (?:mogła|mogło|można|została|dostarczono|udało)[^\\n]{0,40}|niedostarcz|(?:nelze|nebyl[ao]?|nepodařilo|nie je možné|nebol[ao]?)[^\\n]{0,40}doruč|nedoruč|nem (?:sikerült|kézbesíthet|lehet)[^\\n]{0,40}|sikertelen|nu a (?:putut|fost)[^\\n]{0,30}livrat|nije (?:moguće|isporuč)',
  // Russian, Ukrainian, Greek, Turkish
  'не (?:было |может быть |удалось |удаётся |удается |могло быть )?достав|недостав|невозможно достав|не вдалося|не (?:було|може бути) достав|δεν (?:παραδόθηκε|ήταν δυνατή|μπόρεσε|είναι δυνατή)|teslim edile?m|iletileme|gönderileme',
  // Japanese, Chinese, Korean
  '(?:配信|送信|配送|配達|送達|お届け|転送)(?:する(?:こと)?|されま|が|でき|に|が?でき)?[^\\n]{0,12}(?:ません|なかった|失敗|不能)|エラーのため|届けることができ|送信できま|戻されて|无法|未能|未送达|退信|退回|失败|無法|失敗|배달[^\\n]{0,12}(?:못|없|않|실패)|전[송달][^\\n]{0,12}(?:못|없|않|실패)|반송',
  // Hebrew, Arabic, Vietnamese, Indonesian
  'לא ניתן|לא נמסר|تعذر|لم يتم|فشل|không thể|tidak dapat',
];

const failureText = new RegExp(textRows.join('|'), 'iu');

/** True where a text says that a message did not arrive. `text` must be short. */
export function saysFailure(text: string): boolean {
  return failureText.test(text);
}

// Subjects of failure, matched from their beginning, so that a reply (`Re: …`) to a bounce is none

const subjectRows: readonly string[] = [
  // Sendmail, Postfix, Exim, qmail, and their imitations
  'undeliver(?:able|ed)\\b',
  'returned (?:(?:e-?)?mail|message)\\b|message returned|returned to sender|mail returned',
  'postmaster notify:|postmaster warning:',
  '(?:(?:e-?)?mail|message) deliver[a-z]{1,3} (?:has )?(?:failure|failed|failing|problem|error|warning|delayed|report|status|notification|notice|has)',
  'mail (?:status report|failure|failed|system error|delivery|rejected|could not be delivered|undelivered)|failed mail\\b',
  'message (?:status|delivery|delayed|undeliverable|could not be delivered|not delivered|you sent)|(?:your )?message (?:was|has) (?:not )?been (?:delayed|rejected|delivered)|your message to [^ ]{1,200} (?:could not|was not|has not)',
  'deliver[a-z]{0,3} (?:status|failure|failed|problem|report|error|delayed|has|unsuccessful|notification)',
  'failure (?:notice|notification|delivery)|failed delivery|failed to deliver|failed:',
  '(?:permanent|temporary|transient) (?:delivery )?(?:failure|error)|non-?deliver(?:y|able)|\\[?postmaster\\]? e?-?mail delivery|\\[postmaster\\]',
  'warning:? (?:could not|message|from|[^ ]{1,200}@|mail|your)|warning - |delayed (?:mail|message)|delay(?:ed)?:|delivery delay|mail delay',
  "(?:unable|failed|failure|can(?:'t|not)|could not|couldn't) (?:to )?(?:deliver|send)|unzustellbar|bounced? (?:mail|message|notice)|rejected (?:mail|message|posting)|(?:mail )?bounce:|ndn:|ndr:|ndr\\b|dsn\\b",
  'banned (?:contents?|files?)|(?:automatically )?rejected mail|mail not delivered|not delivered|recipient (?:not found|unknown)|user unknown|unknown (?:user|recipient|address)|inbox is full|mailbox (?:is )?full|address not found',
  // Amazon SES over SNS
  'aws notification message|amazon ses (?:email )?event notification',
  // FML, Majordomo: not a member
  'you [^ ]{1,200} are not member\\b|loop alert:',
  // German
  'unzustellbar|nicht zustellbar|benachrichti?(?:gung)?\\w{0,4} zum \\S{0,3}\\S{0,12}bermittlungsstatus|nachricht nicht (?:zugestellt|zustellbar)|zustell(?:ung|fehler|bericht)|(?:mail-?)?zustellung(?:sfehler|sstatus)?\\b|fehler (?:bei der|beim) (?:zustellung|versand)|unzugestellte|e-?mail (?:konnte nicht|unzustellbar)',
  // French
  'non[- ]?remis|(?:échec|echec|erreur)[^\\n]{0,20}(?:remise|distribution|livraison|envoi|acheminement)|(?:message|courrier|mail) non (?:remis|délivré|delivre|distribué|distribue|livré)|non distribuable|notification d.?état de remise|retour (?:de courrier|à l.expéditeur)',
  // Spanish, Portuguese, Italian
  'no (?:se puede |se pudo )?entrega(?:do|ble|r)|(?:error|fallo)[^\\n]{0,12}(?:entrega|env[ií]o)|(?:mensaje|correo) (?:no entregado|devuelto)|no se (?:ha podido|pudo|puede) entregar|notificaci[oó]n de (?:estado|error) de entrega',
  '(?:falha|erro)[^\\n]{0,12}(?:entrega|envio)|(?:mensagem|e-?mail) n[aã]o entregue|n[aã]o (?:foi )?(?:entregue|poss[ií]vel entregar)|notifica[cç][aã]o de status de entrega',
  'mancato recapito|non recapitabil[ei]|recapito (?:non riuscito|fallito)|(?:errore|notifica)[^\\n]{0,20}(?:consegna|recapito)|messaggio non (?:recapitat|consegnat)o|impossibile recapitare',
  // Dutch, Swedish, Danish, Norwegian, Finnish
  'onbestelbaar|niet (?:te bezorgen|bezorgd|afgeleverd)|(?:bezorging|aflevering) mislukt|kan niet worden bezorgd|onbezorgbaar',
  'olevererbar|ej levererbart|(?:det )?gick inte att leverera|leveransfel|leverans(?:en)? misslyckades|kan ikke leveres|ikke leveret|ulever(?:er)?bar|ikke levert|leveringsfeil|leveringsfejl|toimitt?amaton|toimitus epäonnistui|viestiä ei voitu|ei voitu toimittaa',
  // Polish, Czech, Slovak, Hungarian, Romanian, Croatian
  'niedostarcz|nie można dostarczyć|niepowodzenie dostarcz|(?:błąd|blad) (?:dostarcz|doręcz)|zwrot (?:poczty|wiadomości)|nedoručiteln|nelze doručit|nedoručen|nie je možné doručiť|nedoručiteľn|kézbesíthetetlen|kézbesítési hiba|sikertelen kézbesítés|nem kézbesíthet|nelivrat|nu (?:s-a putut|se poate) livra|neisporučen|nije moguće isporučiti',
  // Russian, Ukrainian, Bulgarian, Greek, Turkish
  'недоставлен|не доставлен|не удалось доставить|ошибка (?:при )?доставк|сбой доставк|невозможно доставить|не удаётся доставить|не вдалося доставити|неможливо доставити|недостав|недоставим|δεν (?:παραδόθηκε|είναι δυνατή η παράδοση)|αποτυχία παράδοσης|μη παραδοτέο|teslim edilemedi|teslim edilemeyen|iletilemedi|teslimat (?:hatası|başarısız)',
  // Japanese, Chinese, Korean
  '配信不能|配信(?:エラー|失敗|できません)|送信(?:エラー|失敗|できません)|送信者に戻され|未配信|配送(?:エラー|不能|失敗)|エラーメール|メール配信|メールを配信|(?:メール|メッセージ)(?:の|を|が)?(?:配信|送信|送達)(?:エラー|失敗|でき)|退信|无法(?:投递|送达|传递)|未(?:能)?(?:送达|传递|投递)|投递失败|系统退信|發送失敗|傳送失敗|無法(?:傳遞|遞送|投遞|送達)|未傳遞|전송 ?실패|배달 ?(?:되지|실패|불가)|반송|전달되지',
  // Hebrew, Arabic, Vietnamese, Thai, Indonesian
  'לא ניתן למסור|לא נמסר|تعذر (?:تسليم|توصيل)|لم يتم (?:تسليم|التسليم)|không (?:thể )?gửi được|gửi không thành công|ไม่สามารถส่ง|tidak (?:dapat )?terkirim',
];

const subjectStart = new RegExp(`^[\\s*!:"'-]{0,6}(?:${subjectRows.join('|')})`, 'iu');
/** Failure in the middle of a subject. */
const subjectAnywhere =
  /\b(?:delivery (?:has )?(?:failed|failure)|non remis|could not be delivered|user unknown|returned to sender|undeliverable)\b/iu;
/** Failure at the end: programs that reply to the original subject and append it. */
const subjectAtEnd =
  /[ :(\u2013-](?:delivery failed|delivery failure|non remis|undeliverable|undelivered|unzustellbar|nicht zustellbar)\W{0,3}$/iu;
const answerPrefix =
  /^\s{0,5}(?:re|aw|antw|sv|vs|fwd?|wg|tr|rv|enc|i|r|odp|vá|ynt|рез?|пересл|答复|回复|转发)\s{0,2}(?:\[\d+\])?[:：]/iu;

/** True for the subject of a delivery report, by its first 300 characters. */
export function isFailureSubject(subject: string): boolean {
  const start = subject.slice(0, 300);
  if (subjectStart.test(start)) return true;
  if (answerPrefix.test(start)) return subjectAtEnd.test(start);
  return subjectAnywhere.test(start) || saysFailure(start);
}

/** True for the subject of a reply or a forward. */
export function isAnsweredOrForwarded(subject: string): boolean {
  return answerPrefix.test(subject.slice(0, 40));
}

// Signs of a program, and of a person

/**
 * Subjects and sentences by which programs declare themselves: FML; X.400 gateways; and a text that begins with a drawn
 * line.
 */
const automaticSubject = /^\s{0,3}(?:you [^ ]{1,200} are not member \(|loop alert: duplicated message-id)/iu;
const automaticText =
  /automatic(?:ally)? (?:generated|created|sent)|auto-?generated|(?:delivery status notification|message) is sent from (?:the )?mta|advisory-only|please do not re(?:ply|send|spond)|automatisch (?:erzeugt|erstellt|generiert)|généré automatiquement|自動的に|^\s{0,20}[*=]{10,200}\s*\n/iu;

/** True where a message declares that a program wrote it. `opening` must be short. */
export function saysAutomatic(subject: string, opening: string): boolean {
  return automaticSubject.test(subject.slice(0, 300)) || automaticText.test(opening.slice(0, 1000));
}

/** Words of persons around a failure: greetings, questions, words about themselves. */
const personRows: readonly string[] = [
  '(?:can|could|would|do) you\\b|please (?:help|have a look|look into|advise|call|tell|let (?:me|us) know|resend|send it again)|any ideas?\\b|what (?:is wrong|does (?:this|it|that)|should (?:i|we))|why (?:is|was|does|do|did|can)|(?:help|tell) me\\b',
  '(?:^|\\n)\\s{0,5}(?:hello|hi|dear(?! (?:sender|user|customer|subscriber|member)s?\\b)|good (?:morning|afternoon)|hallo|guten (?:tag|morgen)|sehr geehrte|liebe[rs]?|moin|servus|bonjour|hola|buenos|ciao|buongiorno)\\b(?![.,!] this is (?:the|an?) (?:[\\w-]{1,20} ){0,3}(?:mail|program|server|system|daemon))',
  '\\bmy (?:e-?mail|mail|message|newsletter|account|boss|colleague|customer|parcel|order)|(?<!\\bafter )\\bi (?:get|got|tried|have|can.?t|cannot|wrote|sent)\\b|\\b(?:kind|best|warm) regards|\\bthanks\\b|\\bscreenshot',
  'können sie|kannst du|könnt ihr|bitte (?:helfen|prüfen|schauen|nochmal|erneut|um)|was (?:heißt|bedeutet|soll)|\\b(?:warum|wieso)\\b|\\bmeine?[rmn]?\\b|\\bich (?:habe|bekomme|kann)|(?:viele|liebe|beste|freundliche[nm]?) grü(?:ß|ss)e',
];
const person = new RegExp(personRows.join('|'), 'iu');

/** True where the unquoted top of a text sounds like a person. `opening` must be short. */
export function asksLikePerson(opening: string): boolean {
  return person.test(opening);
}
