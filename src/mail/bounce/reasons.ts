/**
 * Bounce reasons: the detail of an enhanced status code (RFC 3463) that the prose of a server means.
 *
 * Servers answer in many languages, with a code that often says less. The first row that matches decides, so that
 * reasons about the sender or the content precede those about the recipient. Only the first 4,000 characters are read.
 */

/** `hard`: the address or its domain will not accept mail later either. */
export type BounceReason = { readonly detail: string; readonly hard: boolean };

type Row = readonly [detail: string, pattern: RegExp];

const reasonTextMax = 4000;

/** The first row that a text matches. Links are ignored, since their words match many rows. */
export function reasonIn(text: string): BounceReason | null {
  const prose = text.slice(0, reasonTextMax).replace(/https?:\/\/[^\s>]{1,500}/giu, '');
  const [detail] = rows.find(([, pattern]) => pattern.test(prose)) ?? [];
  return detail === undefined ? null : { detail, hard: hardDetails.has(detail) };
}

const rows: readonly Row[] = [
  // The sender's address
  [
    '1.8',
    /domain of sender|(?:sender|from|envelope|return.path)[\w ]{0,20}(?:address|domain)?[^.\n]{0,60}(?:rejected|denied|refused|does not exist|doesn't exist|invalid|not valid|unknown|not found|verify|verified|not allowed|blocked)\b|mail from [^\n]{0,20}rejected|invalid ip for sending|sending domain/iu,
  ],
  // A domain that takes no mail: RFC 7505
  ['1.10', /(?:does not|doesn't|not) accept (?:any |e-?)?mail\b(?! from| with)|null mx\b/iu],
  // Moved: RFC 5321 code 551
  [
    '1.6',
    /no longer on (?:this )?server|(?:user|recipient|mailbox|address) (?:has )?(?:been )?moved|not our (?:user|customer)|(?:address|mailbox) (?:has|was) (?:been )?(?:changed|replaced)|ist umgezogen|a changé d'adresse/iu,
  ],
  [
    '7.1',
    /relay(?:ing)?\b[^.\n]{0,20}(?:denied|not (?:permitted|allowed)|prohibited|disabled|rejected)|(?:unable|not configured|not allowed|refus\w{1,3}|won't|cannot) to relay|as a relay|allowed rcpthosts|does not relay|we do not relay|open relay/iu,
  ],
  [
    '7.26',
    /\bdmarc\b|\bspf\b|\bdkim\b|unauthenticated|authentication (?:required|information|failed|checks)|not authenticated|ptr record|reverse dns|is not verified/iu,
  ],
  // The recipient's address
  [
    '1.1',
    /(?:user|recipient|receiver|mailbox|account|address|rcpt|person|subscriber|username)(?:e?s|\([a-z]{1,2}\))?(?![a-z])[^.\n]{0,80}(?:does not exist|doesn't exist|not exist\b|not found|unknown|(?:is|was|are|were) not (?:a )?(?:known|valid|recognized|registered|listed|found)|no longer (?:exists?|valid|available|active|here|with)|couldn't be found|could not be found|isn't (?:valid|recognized)|is invalid|invalid\b|not recognized|non-?existent)/iu,
  ],
  [
    '1.1',
    /unknown (?:local |mail |virtual |e-?mail )?(?:user|recipient|address|mailbox|account|local.?part)|no such (?:local |virtual )?(?:user|recipient|mailbox|account|address|person|e-?mail|local)|(?:there is )?no (?:mailbox|account|user|recipient|one|person)(?: here| there)? (?:by|with|of) (?:that|this) (?:name|address)|no mailbox here|bad_recipient|unable to find (?:user|recipient)|user[_ ]unknown/iu,
  ],
  [
    '1.1',
    /invalid (?:recipient|receiver|user|mailbox|final delivery userid|e-?mail|address|local part)|not a (?:valid|known|registered|current|real|gateway)[\w ]{0,20}(?:user|mailbox|recipient|address|customer|member|account)|(?:doesn't|does not) have an? [^\n]{1,60}account|bad (?:destination )?(?:mailbox|recipient|address)(?: address)?|undeliverable address|no valid recipients|did not (?:exactly )?match|no matches|not listed in|unrouteable address|has left (?:the|our)|no longer (?:employed|works?|with (?:us|the))|recipient address rejected: access denied|(?<!recipient )\baddress (?:was )?rejected|recipient (?:was )?rejected(?!:)|unknown or illegal alias|this user is not|does not have a final e-?mail/iu,
  ],
  [
    '1.1',
    /utilisateur inconnu|destinataire (?:inconnu|invalide)|adresse[^\n]{0,50}(?:invalide|inconnue|inexistante|n'existe)|(?:boîte|compte)[^\n]{0,40}n'existe|(?:benutzer|empf[aä]e?nger|adressat)[^\n]{0,40}(?:unbekannt|nicht (?:gefunden|bekannt|vorhanden))|unbekannter? (?:benutzer|empf[aä]e?nger|nutzer|adresse)|existiert nicht|adresse[^\n]{0,30}nicht gefunden|nicht im [^\n]{0,40}(?:verzeichnis|adressbuch)|(?:usuario|destinatario|buz[oó]n|direcci[oó]n|cuenta)[^\n]{0,40}(?:desconocid[oa]|inexistente|no existe|no encontrad[oa])|no existe (?:el|la|ese)|(?:utente|destinatario|casella|indirizzo)[^\n]{0,40}(?:sconosciut[oa]|inesistente|non (?:esiste|valid[oa]|trovat[oa]))|(?:usu[aá]rio|destinat[aá]rio|caixa|endere[cç]o)[^\n]{0,40}(?:desconhecid[oa]|inexistente|n[aã]o (?:existe|encontrad[oa]))|onbekende (?:gebruiker|geadresseerde|ontvanger)|bestaat niet|ok[aä]nd (?:mottagare|användare)|findes ikke|finnes ikke|finns inte/iu,
  ],
  [
    '1.1',
    /nieznany (?:użytkownik|adresat|odbiorca)|nie istnieje|neexistuje|nem létezik|ismeretlen (?:címzett|felhasználó)|nu există|пользовател\S{0,4} (?:не (?:найден|существует)|неизвест)|не существует|несуществующ|не існує|неизвестн\S{1,4} (?:пользовател|получател)|δεν υπάρχει|bulunamad[ıi]|見つかりません|存在しません|存在しない|不明な(?:宛先|ユーザ)|宛先不明|(?:用户|收件人|地址|邮箱|帳號|使用者)[^\n]{0,8}不存在|不存在|找不到[^\n]{0,8}(?:用户|收件人|邮箱|使用者)|查無此|존재하지 않|없는 (?:사용자|계정|메일)|찾을 수 없/iu,
  ],
  // The recipient's domain
  [
    '1.2',
    /(?:host|domain|system)(?: or domain)?(?: name)?\b[^\n]{0,60}(?:unknown|not found|does not exist|doesn't exist|couldn't be found|non-?existent)|(?:unknown|no such|illegal|invalid) (?:mail )?(?:host|domain)|unrouteable (?:mail )?domain|point to non-existent hosts|bad destination (?:system|host)|couldn't find any host|nxdomain|name or service not known|domain\b[^\n]{0,40}(?:has no mx|no mail server)|no mx record|domäne? nicht gefunden|域名不存在/iu,
  ],
  // Conditions that may pass
  [
    '2.2',
    /quota|(?:mail)?(?:box|folder)[^.\n]{0,40} (?:is )?(?:full|exceed\w{0,3})|(?:mailbox|inbox) full|(?:mailbox|storage)[\w ]{0,20}(?:limit|exceed|size)|exceeds allowed size|exceed(?:s|ed)? (?:mailbox|storage)|out of (?:space|storage)|disk (?:space )?full|insufficient (?:system )?(?:storage|disk)|no space left|too much mail|mailfolder is full|bo[iî]te[^\n]{0,30}pleine|postfach[^\n]{0,30}voll|speicherplatz|buz[oó]n[^\n]{0,20}lleno|casella[^\n]{0,20}piena|caixa[^\n]{0,30}cheia|mailbox[^\n]{0,10}vol\b|переполнен|skrzynka[^\n]{0,20}pełna|いっぱい|容量|超過|溢れ|已满|已滿|가득/iu,
  ],
  [
    '3.4',
    /(?:message|mail|size|file)[^.\n]{0,50}(?:too (?:big|large|long)|exceed\w{0,3})|size limit|exceeds (?:the )?(?:maximum|size|fixed)|maximum (?:message|allowed) size|size=limit|too (?:big|large) for|zu groß|trop (?:gros|volumineux|grand)|demasiado grande|troppo grande|サイズ(?:が|制限)|过大|過大/iu,
  ],
  [
    '2.1',
    /(?:account|mailbox|user|recipient|address|e-?mail)[^.\n]{0,40}(?:suspended|disabled|inactive|deactivated|locked|blocked|closed|expired|frozen|discontinued)|disabled (?:recipient|user|account|mailbox)|deactivated mailbox|\[suspend\]|inactive (?:user|account|mailbox)|not been (?:collected|used)|gesperrt|désactivé/iu,
  ],
  [
    '7.1',
    /spam|junk|black[- ]?list|blocklist|block list|\brbl\b|dnsbl|\bblocked\b|reputation|policy|polic(?:y|ies)|content (?:rejected|filter)|virus|infected|malware|not (?:authorized|permitted|allowed)|unauthorized|access denied|administrative(?:ly)? prohibit|prohibited|banned|security|not accepting mail with|client host rejected|too many (?:recipients|connections|messages)|rate limit|frequency limited|receiving mail at a rate|you are not (?:a )?member|moderat|not a member|greylist|graylist|rejected for|rejete|abgelehnt|filtered|迷惑|垃圾/iu,
  ],
  [
    '4.6',
    /too many hops|hop count|mail loop|loop detected|\bloop(?:ing)? (?:to|back)|duplicated message-id|forwarded more than|routing loop/iu,
  ],
  [
    '4.7',
    /(?:delivery )?(?:time(?:d)? ?out|timed out|time expired|retry time)|retry timeout|message expired|giving up|given up|too long (?:in|on) (?:the )?queue|could not (?:be )?deliver(?:ed)? (?:for|within|after)|not delivered within|undelivered (?:after|for)|for (?:more than )?\d{1,4} (?:hours?|days?|minutes?)|within \d{1,3} days|4[34]2000 seconds|queue(?:d)? too long|expired/iu,
  ],
  [
    '4.1',
    /connection (?:refused|reset|lost|dropped|closed|to mail exchanger failed)|connect (?:failed|error)|can't connect|could not connect|unable to connect|failed to connect|no route to host|network (?:is )?unreachable|not respond|no answer|socket error|did not accept our requests|server (?:is )?(?:unavailable|busy|down)|unreachable|temporary|temporarily|try again later/iu,
  ],
  // Mostly for addresses that do not exist; a few servers reply so to everything they refuse
  ['1.1', /mailbox (?:is )?(?:unavailable|not available)|\buser not local|not local\b/iu],
  [
    '3.0',
    /mailer error|command died|system (?:error|failure|config)|(?:insufficient|denied) permission|permission denied|i\/o error|local error|internal (?:server )?error/iu,
  ],
  ['6.0', /\b(?:content|headers?|8-?bit|attachments?|media|malformed)\b/iu],
];

/** Details of RFC 3463 that alone mean a wrong address. */
const hardDetails: ReadonlySet<string> = new Set(['1.1', '1.2', '1.3', '1.6', '1.10']);
/** Details that servers use for any cause: the words decide. */
const vagueDetails: ReadonlySet<string> = new Set('0.0 1.0 2.1 3.0 4.0 4.1 4.4 5.0 5.1 5.4'.split(' '));

/** Evidence for the permanence of a failure. */
export type StatusEvidence = {
  /** Status in the report or in the reply of the refusing server; null when it is only inferred. */
  readonly status: string | null;
  /** The refusing server itself sent the status, not only the reporting one. */
  readonly isServerStatus: boolean;
  readonly reason: BounceReason | null;
  /** Refused after the content was sent: a filter decided, whatever it says about the address. */
  readonly isAfterContent: boolean;
};

/**
 * True where the address will not work later either: it, its domain or its server does not exist, accepts no mail or
 * has moved. A permanent failure for any other cause (full, blocked, too large, spam) is not hard.
 */
export function isHard({ status, isServerStatus, reason, isAfterContent }: StatusEvidence): boolean {
  if (status !== null && !status.startsWith('5.')) return false;
  const detail = status === null ? '0.0' : status.slice(2);
  if (vagueDetails.has(detail)) return reason?.hard === true && !isAfterContent;
  if (hardDetails.has(detail)) return isServerStatus || reason === null || reason.hard || reason.detail === '3.0';
  return reason?.detail === '1.10';
}
