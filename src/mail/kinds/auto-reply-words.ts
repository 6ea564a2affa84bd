/**
 * How automatic answers begin, in the languages that mail programs speak. One row a language or family.
 *
 * `programRows` are what programs write before the subject that they answer to; with the colon after them no person
 * begins a mail so. `absenceRows`, `awayRows` and `receiptRows` are what persons write into their answering programs,
 * and might write by hand too ("Absence note: how do I set it?"): they count only beside another sign of a machine.
 */

const programRows: readonly string[] = [
  // English: Exchange, Outlook, Notes, Gmail, vacation(1), GroupWise, Dovecot Pigeonhole
  '\\[?auto(?:matic|mated|mat)?[- ]?(?:reply|response|respond(?:er)?|answer)\\]?(?: (?:from|to|re) [^:：\\n]{1,60})?',
  'out[- ]of[- ](?:the[- ])?office(?: (?:auto-?reply|reply|response|notice|notification|message))?|vacation (?:reply|response|autoreply)',
  // German, Dutch, Swedish, Danish, Norwegian, Finnish
  'automatische (?:antwort|beantwortung)|auto-?antwort|abwesenheits(?:notiz|assistent|benachrichtigung|agent|meldung)|automatisch(?:e)? (?:antwoord|beantwoord(?:ing)?|reactie)|afwezigheids(?:bericht|assistent|melding)|auto(?:matiskt|matisk)?[- ]?svar|frånvaro(?:meddelande|assistent)|fraværs(?:besked|melding|assistent|meddelelse)|automaattinen (?:vastaus|poissaoloilmoitus)|poissaolo(?:ilmoitus|viesti)',
  // French, Spanish, Catalan, Italian, Portuguese, Romanian
  'r[ée]ponse automatique|absence du bureau|(?:message|notification) d.absence|respuesta autom[aá]tica|auto-?respuesta|fuera de (?:la )?oficina|resposta autom[aàá]tica|risposta automatica|fuori (?:sede|ufficio)|fora do escrit[oó]rio|aus[eê]ncia tempor[aá]ria|r[aă]spuns automat|mesaj automat',
  // Polish, Czech, Slovak, Hungarian, Slovene, Croatian, Serbian
  'automatyczna odpowied[zź]|auto-?odpowied[zź]|odpowied[zź] automatyczna|poza biurem|automatick[aá] odpov[eě][dď]|mimo kancel[aá][rř]|automatikus (?:v[aá]lasz|üzenet)|irodán kívül|automatski odgovor|samodejni odgovor|аутоматски одговор',
  // Estonian, Latvian, Lithuanian
  'automaatvastus|automaatne vastus|automātiskā atbilde|automātiska atbilde|automatinis atsakymas',
  // Russian, Ukrainian, Bulgarian, Greek, Turkish
  'автоматический ответ|автоответ(?:чик)?|нет на месте|вне офиса|автоматична відповідь|автовідповідь|автоматичен отговор|αυτόματη απάντηση|εκτός γραφείου|otomatik (?:yanıt|cevap)|ofis dışında',
  // Japanese, Chinese, Korean
  '自動(?:応答|返信|回答)|不在通知|自动(?:回复|答复|应答)|自動(?:回覆|答覆)|자동 ?(?:회신|응답|답장)|부재 ?중',
  // Hebrew, Arabic, Persian, Vietnamese, Thai, Indonesian
  'מענה אוטומטי|תשובה אוטומטית|מחוץ למשרד|رد تلقائي|الرد التلقائي|خارج المكتب|پاسخ خودکار|(?:thư )?trả lời tự động|ตอบกลับอัตโนมัติ|(?:balasan|jawaban) otomatis',
];

/** Nouns of absence that begin a subject; before the subject of an answer they are a program's. */
const absenceRows: readonly string[] = [
  'absen(?:t|ce)|away|(?:on )?(?:vacation|holiday|leave)|ooo|abwesen[dh]\\w{0,20}|urlaub|außer haus|ausser haus|nicht im (?:büro|haus)|afwezig\\w{0,20}|frånvaro\\w{0,20}|fravær\\w{0,20}|poissa\\w{0,10}',
  'absente?|ausente|ausencia|aus[eê]ncia|assente|assenza|nieobecn\\S{0,8}|nep[rř][ií]tom\\S{0,8}|távollét|отсутств\\S{0,8}|в отпуске|відсутн\\S{0,8}|不在|休暇|休假|부재|휴가',
];

/** What persons write who are away. */
const awayRows: readonly string[] = [
  'i (?:am|will be|.m|.ll be)[^\\n.]{0,40}(?:out of (?:the |my )?(?:office|town)|away (?:from|until|on)|on (?:vacation|holiday|leave|annual leave|maternity)|unavailable|travell?ing|not in the office)|i.m (?:away|out of|on (?:vacation|leave|holiday))|(?:am|is|be|currently) out of (?:the )?office|limited access to (?:my )?e-?mail',
  '(?:ich bin|wir sind)[^\\n.]{0,60}(?:nicht im (?:haus|büro|hause)|abwesend|im urlaub|außer haus|ausser haus|nicht erreichbar|auf dienstreise|wieder (?:da|erreichbar|im büro))|(?:bin|befinde mich)[^\\n.]{0,40}(?:urlaub|abwesend|elternzeit)',
  '(?:je suis|je serai)[^\\n.]{0,40}(?:absent|en cong|en vacances|en déplacement|indisponible)|(?:estoy|estar[eé])[^\\n.]{0,40}(?:fuera de|de vacaciones|ausente)|(?:sono|sar[oò])[^\\n.]{0,40}(?:assente|fuori (?:ufficio|sede)|in ferie)|(?:estou|estarei)[^\\n.]{0,40}(?:fora|ausente|de f[eé]rias)',
  'ik ben[^\\n.]{0,40}(?:afwezig|niet aanwezig|op vakantie|met vakantie)|jag är[^\\n.]{0,40}(?:på semester|bortrest|inte på kontoret|ledig|tjänstledig)|jeg er[^\\n.]{0,40}(?:på ferie|ikke på kontoret|fraværende|ude af huset|bortreist)|olen[^\\n.]{0,40}(?:poissa|lomalla|vuosilomalla)',
  'jestem[^\\n.]{0,30}(?:nieobecn|na urlopie|poza biurem)|(?:jsem|budu)[^\\n.]{0,40}(?:mimo kancel|na dovolen|nepřítom)|szabadságon (?:vagyok|leszek)|nem vagyok[^\\n.]{0,30}irod|(?:я|буду|нахожусь)[^\\n.]{0,20}(?:в отпуске|в командировке|вне офиса|отсутств)|(?:я|буду)[^\\n.]{0,20}у відпустці|izindeyim|ofis dışındayım|休暇(?:中|を(?:いただ|頂))|不在に(?:して|し|なり)|不在のため|(?:正在|在)休假|休假中|我[^\\n]{0,6}不在办公室|부재 ?중|휴가 ?중',
];

/** What desks write: it came, wait. Nothing that an alarm would say ("automatically generated, do not reply"). */
const receiptRows: readonly string[] = [
  '(?:we (?:have )?|has been )received your (?:[\\w -]{0,30})(?:e-?mail|message|request|inquiry|enquiry|ticket|mail)|we got your (?:request|message|e-?mail)|your (?:[\\w -]{0,20})(?:e-?mail|message|request|inquiry|enquiry|ticket|case) (?:\\([^)\\n]{0,40}\\) |[#\\w-]{0,20} )?(?:has been|was) (?:received|created|opened|logged|submitted|registered)|thank(?:s| you)[^\\n]{0,12} for (?:contacting|your (?:e-?mail|message|inquiry|enquiry|request|mail)|you e-?mail|writing|reaching out|getting in touch|e-?mailing)|automatic(?:ally generated)? (?:reply|response|acknowledge?ment|confirmation of receipt)|\\[?(?:request|ticket) received\\]?|acknowledg(?:e|es|ing|e?ment of) (?:the )?receipt',
  '(?:ihre|deine) (?:e-?mail|nachricht|anfrage|mail|mitteilung)[^\\n.]{0,60}(?:erhalten|eingegangen|eingetroffen|empfangen)|(?:vielen )?dank für (?:ihre|deine) (?:e-?mail|nachricht|anfrage|mail|mitteilung)|(?:eingangs|empfangs)bestätigung|automatische (?:antwort|bestätigung)',
  'nous avons bien reçu|accus[ée] de r[ée]ception|votre (?:message|demande|mail|e-?mail|courriel)[^\\n.]{0,40}(?:reçu|enregistré)|hemos recibido (?:su|tu)|gracias por (?:contactar|su mensaje|escribir|ponerse)|acuse de recibo|abbiamo ricevuto (?:la|il)|grazie per (?:averci|aver)|recebemos (?:sua|seu|a sua|o seu)|obrigado por (?:entrar|contatar|contactar)|agradecemos (?:o seu|seu|sua)',
  'bedankt voor (?:uw|je) (?:e-?mail|bericht|vraag)|wij hebben uw (?:e-?mail|bericht|vraag)|tack för (?:ditt|din)|vi har (?:mottagit|modtaget|mottatt) (?:ditt|din)|tak for din|takk for din|kiitos (?:viestist|yhteyden)|dziękujemy za (?:kontakt|wiadomo|zgłosz)|děkujeme za (?:váš|vaš|zpráv)|köszönjük (?:meg)?keres|благодар(?:им|ю) (?:за|вас)|ваше (?:письмо|обращение|сообщение)[^\\n.]{0,30}(?:получен|принят)|お問い合わせ(?:いただき|ありがとう|を受け付け)|受け付け(?:ました|いたしました)|感谢您的来信|已收到您|문의해 주셔서',
];

/** Of these, what a person who answers would not write. */
const deskRows: readonly string[] = [
  '(?:we (?:have )?|has been )received your (?:[\\w -]{0,30})(?:e-?mail|message|request|inquiry|enquiry|ticket|mail)|your (?:[\\w -]{0,20})(?:e-?mail|message|request|inquiry|enquiry|ticket|case) (?:\\([^)\\n]{0,40}\\) |[#\\w-]{0,20} )?(?:has been|was) (?:received|created|opened|logged|submitted|registered)|thank(?:s| you)[^\\n]{0,12} for contacting (?!me\\b)|(?:this is an )?automatic(?:ally generated)? (?:reply|response|acknowledge?ment|confirmation of receipt)',
  '(?:ihre|deine) (?:e-?mail|nachricht|anfrage|mail|mitteilung)[^\\n.]{0,20} ist[^\\n.]{0,20}(?:eingegangen|eingetroffen)|wir haben ihre (?:e-?mail|nachricht|anfrage|mitteilung)[^\\n.]{0,20}erhalten|dies ist eine automatische|(?:eingangs|empfangs)bestätigung',
  'nous avons bien reçu|accusé de réception|hemos recibido su|gracias por contactar|acuse de recibo|abbiamo ricevuto (?:la|il)|recebemos (?:sua|seu|a sua|o seu)|wij hebben uw (?:e-?mail|bericht|vraag)|vi har (?:mottagit|modtaget|mottatt) (?:ditt|din)|ваше (?:письмо|обращение|сообщение)[^\\n.]{0,30}(?:получен|принят)|受け付け(?:ました|いたしました)|已收到您',
];

const lead = '^[\\s\\[(*"\'<【［]{0,6}';
const programSubject = new RegExp(
  `${lead}(?:${programRows.join('|')})[\\s\\])】］]{0,3}[:：]|^[【［]自動(?:返信|応答|配信)`,
  'iu',
);
const absenceSubject = new RegExp(
  `${lead}(?:${absenceRows.join('|')})\\s{0,2}[:：]\\s{0,2}(?:re|aw|antw|sv|vs|fw|wg)\\s{0,2}[:：]`,
  'iu',
);
const loose = new RegExp(`${lead}(?:${[...programRows, ...absenceRows].join('|')})(?![\\p{L}\\d])`, 'iu');
const away = new RegExp(awayRows.join('|'), 'iu');
const receipt = new RegExp(receiptRows.join('|'), 'iu');
const answer = /^\s{0,5}(?:re|aw|antw|sv|vs|r|odp|ynt|rif|ref|回复|答复|回覆|antwort)\s{0,2}(?:\[\d{1,4}\])?[:：]/iu;
const answerInside =
  /[:：]\s{0,5}(?:re|aw|antw|sv|vs|r|odp|ynt|rif|ref|回复|答复|回覆|fwd?|wg)\s{0,2}(?:\[\d{1,4}\])?[:：]/iu;
const forward = /^\s{0,5}(?:fwd?|wg|tr|rv|enc|i|doorst|vl|vb|pd|转发|轉寄)\s{0,2}[:：]/iu;
/** What a person has to say after the first sentence. */
const objection =
  /\?\s|\b(?:but|however|still|(?:does|do|did|is|can)(?: not|n.t)|aber|leider|jedoch|immer noch|noch nicht|mais|pero|maar)\b/iu;
/** Who writes about an automatic answer wants one, or wants it gone. */
const request =
  /\?\s{0,3}$|\b(?:please|set ?up|enable|disable|activate|switch|turn|configure|how (?:do|can|to)|help|(?:does|do|is|did)(?: not|n.t)|not working|broken|wrong|error|bitte|einrichten|einstellen|aktivieren|deaktivieren|(?:ein|aus|ab)schalten|geht nicht|funktioniert|defekt|problem|fehler|hilfe|wie )/iu;
const desk = new RegExp(deskRows.join('|'), 'iu');

/** A subject that only an answering program writes. */
export function isProgramSubject(subject: string): boolean {
  const start = subject.slice(0, 200);
  return programSubject.test(start) || absenceSubject.test(start);
}

/** A program's subject before that of an answer: `Automatic reply: Re: Order`. */
export function echoesAnswer(subject: string): boolean {
  return answerInside.test(subject.slice(0, 200));
}

/** A subject that asks for something, after whatever it begins with. */
export function asksInSubject(subject: string): boolean {
  return request.test(subject.slice(0, 300));
}

/** How far into the text the first sentences reach. */
const openingMax = 300;

/** The text opens with the words of somebody who is away. */
export function opensAway(text: string): boolean {
  return away.test(opening(text));
}

/** The text opens with the words of a desk that confirms; persons thank too, so thanks alone are none. */
export function opensReceipt(text: string): boolean {
  const start = opening(text);
  return desk.test(start) && !objection.test(start);
}

/** What is before the first quote, and before the first field of a form, since forms hold words of persons. */
function opening(text: string, max = openingMax): string {
  const start = text.slice(0, max);
  const end = start.search(/^(?:>|[|:] |[\p{L}][\p{L} ]{0,24}: {0,3}\S)/mu);
  return end < 0 ? start : start.slice(0, end);
}

/** `Fwd:` and its kin. */
export function isForwardSubject(subject: string): boolean {
  return forward.test(subject.slice(0, 40));
}

/** A subject, or the beginning of a text, of somebody who is away or of a desk that confirms. */
export function soundsAutomatic(words: string): boolean {
  const start = opening(words, 1000);
  return away.test(start) || receipt.test(start);
}

/** A subject that begins with a word for absence, or for an automatic answer. */
export function namesAbsence(subject: string): boolean {
  return loose.test(subject.slice(0, 200));
}

/** `Re:` and its kin. */
export function isAnswerSubject(subject: string): boolean {
  return answer.test(subject.slice(0, 40));
}
