/**
 * Word tables for quoted history, forwards and signatures in many languages: attributions, header labels, titles, lines
 * of mobile devices, legal notices.
 *
 * Tables in lower case, one row for each language or program, `|` between entries: a language is added as a row.
 */

/** The entries of all rows. */
export const entriesOf = (table: readonly string[]): readonly string[] => table.flatMap((row) => row.split('|'));

/** Part of a regular expression that matches any entry. */
export const anyOf = (table: readonly string[]): string =>
  entriesOf(table)
    .map((words) => words.replace(/[.()]/gu, String.raw`\$&`))
    .join('|');

/** "wrote" before a colon: Gmail, Apple Mail, Thunderbird, and people. */
export const writingWords: readonly string[] = [
  // English; German; Dutch, Afrikaans.
  'wrote|writes|schrieb|schreibt|geschrieben|schreef|schrijft|geschreven|geskryf',
  // French; Spanish, Galician, Catalan; Italian; Portuguese; Romanian; Basque.
  'écrit|ecrit|escribió|escribio|escribe|escribiu|escriure|escrit|scritto|scrive|escreveu|escreve|scris|idatzi',
  // Swedish, Danish, Norwegian; Icelandic; Finnish; Estonian.
  'skrev|skriver|skrivit|skrifaði|kirjoitti|kirjoittaa|kirjutas',
  // Polish; Czech, Slovak; Slovenian, Croatian, Serbian; Hungarian; Lithuanian; Latvian.
  'napisał|napisał(a)|napisała|pisze|napsal|napsala|napsal(a)|píše|napísal|napísala|napisal|napisao|napisala|piše',
  'írta|írt|rašė|parašė|rakstīja',
  // Russian; Ukrainian; Bulgarian; Serbian; Greek.
  'написал|написал(а)|написала|пишет|писал|писала|написав|написав(ла)|пише|писав|написа|написао|έγραψε|έγραψαν',
  // Turkish; Vietnamese; Indonesian and Malay; Welsh.
  'yazdı|yazmış|viết|menulis|ysgrifennodd',
];

/** The same in languages without blanks between words: matched anywhere in the line. */
export const writingParts: readonly string[] = [
  // Japanese; Chinese, simplified and traditional; Korean.
  '書きました|書いた|のメール|のメッセージ|写道|寫道|写到|寫到|编写|撰写|撰寫|來信|작성|씀|썼습니다|님의 말',
  // Thai; Hebrew; Arabic, Persian; Hindi.
  'เขียน|כתב|כתבה|מאת|كتب|كتبت|كتابة|نوشت|ने लिखा',
];

/** Words for speech, which people use in other sentences too: they count only before quoted lines. */
export const speakingWords: readonly string[] = ['said|says|sent|posted|sagte|meinte|dit|dijo|disse|zei|sade|sagde'];

/** First words of an attribution line, before a date. Lines that begin with a digit or a weekday need none. */
export const openingWords: readonly string[] = [
  'on|at|in|am|op|le|el|il|em|a|no dia|dia|den|w dniu|dnia|dne|dňa|dana|dne|în|la data de|pe data de|al|lun|en date de',
  'в|во|у|на|от|στις|τη|vào|lúc|pada|pada tanggal|kl|þann|quoting|citando|citát|zitat von|en|em|tarihinde|op',
  '在|於|于|בתאריך|ב|في|ในวันที่|เมื่อ',
];

export type HeaderRole = 'from' | 'sent' | 'to' | 'subject' | 'other';

/** Labels of the header block that Outlook and others put above the message replied to. */
export const headerLabels: readonly (readonly [role: HeaderRole, labels: string])[] = [
  // English.
  ['from', 'from'],
  ['sent', 'sent|date|sent at|sent on'],
  ['to', 'to'],
  ['subject', 'subject'],
  ['other', 'cc|bcc|reply-to|importance|attachments|organization|sensitivity|priority|sender|newsgroups'],
  // German.
  ['from', 'von'],
  ['sent', 'gesendet|datum|gesendet am'],
  ['to', 'an'],
  ['subject', 'betreff'],
  ['other', 'kopie|wichtigkeit|priorität|antwort an|anlagen'],
  // French.
  ['from', 'de|expéditeur'],
  ['sent', "envoyé|date|envoyé le|date d'envoi"],
  ['to', 'à|a|pour|destinataire|destinataires'],
  ['subject', 'objet|sujet'],
  ['other', 'cci|copie|copie à|importance|pièces jointes|répondre à'],
  // Spanish, Catalan, Galician; Portuguese.
  ['sent', 'enviado|enviado el|fecha|enviado a las|data|enviada em|enviado em|enviada|enviat'],
  ['to', 'para|per a'],
  ['subject', 'asunto|assunto|assumpte'],
  ['other', 'cco|importancia|importância|responder a|responder para|adjuntos|anexos'],
  // Italian.
  ['from', 'da|mittente'],
  ['sent', 'inviato|inviato il|data'],
  ['to', 'destinatario|destinatari'],
  ['subject', 'oggetto'],
  ['other', 'ccn|priorità|rispondi a|allegati'],
  // Dutch.
  ['from', 'van'],
  ['sent', 'verzonden|datum|verzonden op'],
  ['to', 'aan'],
  ['subject', 'onderwerp'],
  ['other', 'urgentie|antwoord aan|bijlagen'],
  // Swedish; Danish; Norwegian; Icelandic.
  ['from', 'från|fra|frá'],
  ['sent', 'skickat|sendt|dato|skickat den|sent þann|dagsetning'],
  ['to', 'till|til'],
  ['subject', 'ämne|emne|efni'],
  ['other', 'kopia|kopi|prioritet|vedhæftede filer'],
  // Finnish; Estonian; Latvian; Lithuanian.
  ['from', 'lähettäjä|saatja|no|nuo'],
  ['sent', 'lähetetty|päivämäärä|päiväys|pvm|saadetud|kuupäev|nosūtīts|datums|išsiųsta|data'],
  ['to', 'vastaanottaja|kenelle|adressaat|kellele|kam|adresāts|kam|iki|kam'],
  ['subject', 'aihe|teema|tēma|temats|tema'],
  ['other', 'kopio|koopia|kopija'],
  // Polish; Czech, Slovak; Hungarian; Romanian.
  ['from', 'od|nadawca|odesílatel|odosielateľ|feladó|de la|expeditor'],
  ['sent', 'wysłano|data|wysłane|odesláno|datum|odoslané|dátum|küldve|elküldve|trimis|dată'],
  ['to', 'do|adresat|odbiorca|komu|címzett|către|catre'],
  ['subject', 'temat|předmět|predmet|tárgy|subiect'],
  ['other', 'dw|kopie|kópia|másolatot kap|másolat'],
  // Slovenian, Croatian, Serbian.
  ['from', 'pošiljatelj|šalje|шаље|од'],
  ['sent', 'poslano|poslato|послато|датум'],
  ['to', 'za|prima|за|прима'],
  ['subject', 'zadeva|naslov|наслов'],
  // Russian; Ukrainian; Bulgarian; Greek.
  ['from', 'от|от кого|від|від кого|από'],
  ['sent', 'отправлено|дата|надіслано|изпратено|στάλθηκε|ημερομηνία|απεστάλη'],
  ['to', 'кому|до|προς'],
  ['subject', 'тема|относно|θέμα'],
  ['other', 'копия|копія|κοιν|κοινοποίηση'],
  // Turkish; Vietnamese; Indonesian and Malay.
  ['from', 'kimden|gönderen|từ|người gửi|dari'],
  ['sent', 'gönderildi|gönderme tarihi|tarih|đã gửi|ngày|đã gửi vào|dikirim|tanggal|tarikh|terkirim'],
  ['to', 'kime|alıcı|đến|tới|người nhận|kepada|ke'],
  ['subject', 'konu|chủ đề|tiêu đề|subjek|perihal'],
  ['other', 'bilgi|önem'],
  // Japanese; Chinese, simplified and traditional; Korean.
  ['from', '差出人|送信元|发件人|寄件人|寄件者|보낸 사람|보낸사람|发送人'],
  [
    'sent',
    '送信日時|日時|日付|送信|发送时间|发送日期|日期|时间|寄件日期|傳送日期|傳送時間|時間|보낸 날짜|날짜|보낸날짜',
  ],
  ['to', '宛先|收件人|收件者|받는 사람|받는사람'],
  ['subject', '件名|主题|主旨|主題|제목'],
  ['other', '抄送|副本|参照|참조|重要度|重要性'],
  // Thai; Hebrew; Arabic; Persian.
  ['from', 'จาก|מאת|من|از'],
  ['sent', 'ส่ง|วันที่|נשלח|תאריך|تاريخ الإرسال|التاريخ|تم الإرسال|تاریخ|ارسال شده'],
  ['to', 'ถึง|אל|إلى|به'],
  ['subject', 'เรื่อง|หัวเรื่อง|נושא|الموضوع|موضوع'],
  ['other', 'สำเนา|עותק|نسخة|نسخة إلى'],
];

/** "Original message" between dashes: Outlook, Outlook Express, Zimbra, Samsung, Yahoo, Proton, QQ. */
export const originalTitles: readonly string[] = [
  'original message|original mail|original email|original e-mail|original appointment|reply message|previous message',
  'ursprüngliche nachricht|originalnachricht|ursprüngliche mail|original-nachricht|ursprüngliche e-mail|urspr. nachricht',
  "message d'origine|message d’origine|message original|mail original|message initial|e-mail d'origine|courriel original",
  'mensaje original|correo original|mensagem original|missatge original|mensaxe orixinal',
  'messaggio originale|messaggio orig|e-mail originale|oorspronkelijk bericht|origineel bericht|oorspronkelijke bericht',
  'ursprungligt meddelande|originalmeddelande|oprindelig meddelelse|original meddelelse|opprinnelig melding',
  'oprindelig besked|upprunaleg skilaboð|alkuperäinen viesti|algne sõnum|algsõnum|sākotnējais ziņojums',
  'pradinis laiškas|pirminis laiškas|wiadomość oryginalna|oryginalna wiadomość|treść oryginalnej wiadomości',
  'původní zpráva|původní e-mail|pôvodná správa|eredeti üzenet|mesaj original|mesajul original|mesaj inițial',
  'izvorna poruka|izvirno sporočilo|originalna poruka|оригинална порука|originalno sporočilo',
  'исходное сообщение|оригинальное сообщение|original-сообщение|вихідне повідомлення|оригінальне повідомлення',
  'оригинално съобщение|αρχικό μήνυμα|πρωτότυπο μήνυμα|özgün ileti|orijinal mesaj|orjinal mesaj|asıl ileti|ilk ileti',
  'thư gốc|tin nhắn gốc|thông điệp gốc|pesan asli|mesej asal|元のメッセージ|original メッセージ|オリジナルメッセージ',
  '邮件原件|原始邮件|原邮件|原始信件|原始郵件|原始訊息|回复的邮件|회신된 메시지|원본 메시지|원본 메일|original 메시지',
  'ข้อความต้นฉบับ|ข้อความเดิม|הודעה מקורית|الرسالة الأصلية|رسالة أصلية|پیام اصلی',
];

/** Parts of the line of a helpdesk above which the reply belongs: Zendesk, Jira, Freshdesk and many more. */
export const replyAboveParts: readonly string[] = [
  'reply above this line|type your reply above|write your reply above|reply above the line|respond above this line',
  'reply above this text|add your reply above|enter your reply above|reply above here|answer above this line',
  'antworten sie oberhalb dieser|antwort oberhalb dieser|antworten sie über dieser|antwort über dieser',
  'oberhalb dieser zeile antworten|oberhalb dieser linie|über dieser zeile antworten',
  'répondre au-dessus de cette ligne|réponse au-dessus de cette ligne|répondez au-dessus de cette ligne',
  'por encima de esta línea|encima de esta línea|acima desta linha|sopra questa riga|sopra questa linea',
  'boven deze regel|boven deze lijn|ovanför den här raden|ovanför denna rad|over denne linje|over denne linjen',
  'tämän rivin yläpuolelle|powyżej tej linii|powyżej tego wiersza|nad tento řádek|nad tímto řádkem|nad týmto riadkom',
  'e fölé a sor fölé|a sor fölé írja|deasupra acestei linii|выше этой строки|над этой строкой|над этой линией',
  'над цим рядком|вище цієї лінії|над този ред|πάνω από αυτή τη γραμμή|bu satırın üzerine|bu satırın üstüne',
  'phía trên dòng này|di atas baris ini|この行より上|この行の上|在此行上方|在此行之上|在此線上方|이 줄 위에|이 라인 위에',
  'מעל שורה זו|מעל לשורה זו|فوق هذا السطر|เหนือบรรทัดนี้',
];

// Titles of forwarded messages, without the dashes and the colon around them

/** Between dashes (Gmail, Thunderbird, Yahoo, GMX) or before a colon (Apple Mail). */
export const forwardTitles: readonly string[] = [
  'forwarded message|begin forwarded message|forwarded mail|forwarded email|forwarded e-mail|fwd|forwarded letter',
  'weitergeleitete nachricht|anfang der weitergeleiteten nachricht|anfang der weitergeleiteten e-mail',
  'weitergeleitete mail|weitergeleitete e-mail',
  'message transféré|début du message transféré|début du message réexpédié|message transmis|courriel transféré',
  'mensaje reenviado|inicio del mensaje reenviado|comienzo del mensaje reenviado|missatge reenviat|mensaxe reenviada',
  'messaggio inoltrato|inizio messaggio inoltrato|inizio del messaggio inoltrato|messaggio inoltrato da',
  'mensagem encaminhada|início da mensagem encaminhada|mensagem reencaminhada|início da mensagem reencaminhada',
  'doorgestuurd bericht|begin doorgestuurd bericht|doorgezonden bericht|begin van doorgestuurd bericht',
  'vidarebefordrat meddelande|vidarebefordrat brev|vidarebefordrat mejl|börjar vidarebefordrat meddelande',
  'videresendt meddelelse|videresendt besked|start på videresendt besked|videresendt melding|videresendt e-post',
  'start på videresendt melding|framsent skeyti|áframsent skeyti',
  'välitetty viesti|välitetty viesti alkaa|edelleenlähetetty viesti|alkaa välitetty viesti|edastatud sõnum|edastatud kiri',
  'pārsūtīts ziņojums|persiųstas laiškas|przekazana wiadomość|wiadomość przekazana|początek przekazywanej wiadomości',
  'treść przekazanej wiadomości|początek wiadomości przekazanej dalej|przekazywana wiadomość',
  'přeposlaná zpráva|začátek přeposílané zprávy|přesměrovaná zpráva|preposlaná správa|začiatok preposlanej správy',
  'továbbított üzenet|továbbított levél|mesaj redirecționat|mesaj redirecţionat|mesaj transmis|mesaj înaintat',
  'proslijeđena poruka|posredovano sporočilo|prosleđena poruka|прослеђена порука',
  'пересылаемое сообщение|пересланное сообщение|перенаправленное сообщение|начало переадресованного сообщения',
  'переслане повідомлення|перенаправлене повідомлення|препратено съобщение|προωθημένο μήνυμα|προωθούμενο μήνυμα',
  'iletilen mesaj|iletilmiş mesaj|yönlendirilmiş ileti|yönlendirilen ileti|iletilen ileti başlangıcı|iletilen ileti',
  'thư chuyển tiếp|thư đã chuyển tiếp|tin nhắn được chuyển tiếp|bắt đầu thư được chuyển tiếp|pesan terusan',
  'pesan yang diteruskan|mesej yang dimajukan|转发的邮件|转发邮件|转发信息|转发消息|下面是被转发的邮件|转发的信件',
  '轉寄郵件|轉寄的郵件|轉寄訊息|開始轉寄郵件|以下是轉寄的郵件|転送メッセージ|転送されたメッセージ|転送メール',
  '以下は転送されたメッセージです|전달된 메시지|전달된 메일|전달된 이메일|ข้อความที่ส่งต่อ|เริ่มข้อความที่ส่งต่อ',
  'הודעה שהועברה|התחלת ההודעה שהועברה|رسالة محولة|رسالة معاد توجيهها|بدء الرسالة المعاد توجيهها|پیام ارسال شده',
];

/** Beginnings of such titles, before a name: mutt, Notes. */
export const forwardTitleBeginnings: readonly string[] = [
  'forwarded message from |forwarded by |weitergeleitet von |transféré par |inoltrato da |reenviado por |encaminhado por ',
];

// Signatures that programs add and legal notices of companies; words of people, as "Best regards", are not listed

/** Beginnings of the signature line of a mobile device; `signature.ts` has the other conditions. */
export const mobileBeginnings: readonly string[] = [
  // English; links to the program that Outlook and Yahoo add.
  'sent from|sent via|sent with|sent by|sent using|get outlook for|get the outlook app|download outlook for',
  'get bluemail for|sent securely with|yahoo mail: search, organize',
  // German; Dutch.
  'gesendet von|gesendet mit|gesendet über|von unterwegs gesendet|diese nachricht wurde von meinem|holen sie sich outlook',
  'outlook für|verzonden vanaf|verstuurd vanaf|verzonden met|verstuurd met|verzonden via|outlook voor|download outlook voor',
  // French; Spanish, Catalan; Italian; Portuguese; Romanian.
  'envoyé de mon|envoyé depuis|envoyé à partir|envoyé avec|envoyé via|obtenir outlook|obtenez outlook|télécharger outlook',
  'enviado desde|enviado con|obtener outlook|enviat des de|enviat amb|inviato da|inviato con|ottieni outlook|scarica outlook',
  'enviado do|enviado a partir|enviado de|enviado pelo|enviado com|enviado via|obter o outlook|obtenha o outlook',
  'trimis de pe|trimis din|trimis cu|obțineți outlook',
  // Swedish; Danish, Norwegian; Finnish; Estonian.
  'skickat från|skickat med|skaffa outlook|hämta outlook|sendt fra|sendt med|hent outlook|få outlook|skaff outlook',
  'lähetetty|hanki outlook|saadetud minu|saadetud',
  // Polish; Czech, Slovak; Slovenian, Croatian, Serbian; Hungarian; Lithuanian, Latvian.
  'wysłane z|wysłano z|pobierz outlook|pobierz aplikację outlook|odesláno z|odesláno pomocí|získat outlook|odoslané z',
  'poslano s|poslano z|poslato sa|послато са|elküldve|küldve|išsiųsta iš|nosūtīts no',
  // Russian; Ukrainian; Bulgarian; Greek.
  'отправлено с|отправлено из|отправлено через|скачать outlook|надіслано з|відправлено з|изпратено от|στάλθηκε από',
  // Vietnamese; Indonesian, Malay; Chinese; Korean; Thai; Hebrew; Arabic.
  'đã gửi từ|được gửi từ|gửi từ|dikirim dari|dihantar daripada|发自我的|从我的|发自|發自我的|從我的|發自|나의',
  '내 |ส่งจาก|נשלח מ|أُرسلت من|أرسلت من|تم الإرسال من|ارسال شده از',
];

/** Endings of it where the word for "sent" is last: German, Turkish, Japanese, Korean, Hungarian, Finnish. */
export const mobileEndings: readonly string[] = [
  'gesendet|gönderildi|から送信|より送信|から送信しました|에서 보냄|에서 전송함|發送|傳送|发送|küldve|lähetetty',
];

/** Names of devices and mail programs: with one of them the line may continue, as "… please excuse my spelling". */
export const deviceNames: readonly string[] = [
  'iphone|ipad|ipod|imac|macbook|android|samsung|galaxy|blackberry|nokia|huawei|honor|xiaomi|redmi|htc|motorola|oneplus',
  'sony xperia|lg mobile|windows|outlook|yahoo|proton|protonmail|tutanota|tuta|thunderbird|fairemail|k-9|bluemail|gmx',
  'web.de|aquamail|mailbird|zoho|airmail|polymail|superhuman|spark|mobile device|smartphone|mobiltelefon|handy|smarttelefon',
];

/** Beginnings of legal notices, and of notes about virus scanners and about saving paper. */
export const noticeBeginnings: readonly string[] = [
  // English.
  'this e-mail|this email|this message|this communication|this transmission|the information contained in|the information in',
  'the contents of this|confidentiality notice|confidentiality note|confidential:|disclaimer|legal disclaimer|legal notice',
  'notice of confidentiality|privileged and confidential|please consider the environment|think before you print|important:',
  // German; Dutch.
  'diese e-mail|diese mail|diese nachricht|der inhalt dieser|die information in|die in dieser|vertraulichkeitshinweis',
  'haftungsausschluss|rechtlicher hinweis|bitte denken sie an die umwelt|dit bericht|deze e-mail|de informatie in',
  // French; Spanish; Catalan.
  'ce message|ce courriel|ce courrier|cet e-mail|cet email|les informations contenues|avis de confidentialité',
  "pensez à l'environnement|este mensaje|este correo|este e-mail|esta comunicación|la información contenida|aviso legal",
  'aviso de confidencialidad|aquest missatge|aquest correu',
  // Italian; Portuguese; Romanian.
  'questo messaggio|questa e-mail|questa comunicazione|le informazioni contenute|il presente messaggio|ai sensi del',
  'avviso di riservatezza|esta mensagem|este email|aviso de confidencialidade|a informação contida|acest mesaj|acest e-mail',
  // Swedish, Danish, Norwegian; Finnish.
  'detta meddelande|detta e-post|denne e-mail|denne e-post|denne mail|denna e-post|denne meddelelse|tämä viesti',
  'tämä sähköposti',
  // Polish; Czech, Slovak; Hungarian; Turkish.
  'ta wiadomość|niniejsza wiadomość|treść tej wiadomości|tato zpráva|tento e-mail|tento email|táto správa|ez az e-mail',
  'ez az üzenet|bu e-posta|bu mesaj|bu ileti|yasal uyarı',
  // Russian; Ukrainian; Greek; Japanese; Chinese; Korean.
  'это сообщение|это электронное|данное сообщение|настоящее сообщение|информация, содержащаяся|цей лист|це повідомлення',
  'το παρόν|αυτό το μήνυμα|このメール|この電子メール|本メール|本邮件|此邮件|本電子郵件|此電子郵件|이 메일|본 메일',
];

/** Words that the same paragraph must have. */
export const noticeSubjects: readonly string[] = [
  'confidential|privileged|intended recipient|intended only|intended solely|for viruses|virus-free|before printing|before you print|legally',
  'vertraulich|auf viren|virenfrei|ausdrucken|rechtlich geschützt|vertrouwelijk|uitsluitend bestemd|confidentiel|destinataire|imprimer',
  'confidencial|destinatario|destinatário|imprimir|riservat|destinatari|stampare|confidențial|konfidentiell|fortrolig',
  'konfidensiel|luottamuksel|poufn|wyłącznie|důvěrn|dôvern|bizalmas|gizli|конфиденциальн|конфіденційн|εμπιστευτικ',
  '機密|誤って|保密|机密|기밀',
];
