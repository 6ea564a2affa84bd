/**
 * The words of signatures that programs add, and of legal notices that companies add. Tables alone.
 *
 * One row a language or program, in lower case. What people write themselves, as "Best regards", is not here.
 */

/** How the line of a mobile begins. The rest of it is short; see `signature.ts` for what else is asked of it. */
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

/** How it ends where the word for "sent" comes last: German, Turkish, Japanese, Korean, Hungarian, Finnish. */
export const mobileEndings: readonly string[] = [
  'gesendet|gönderildi|から送信|より送信|から送信しました|에서 보냄|에서 전송함|發送|傳送|发送|küldve|lähetetty',
];

/** Names of devices and mail programs: with one of them the line may go on, as "… please excuse my spelling". */
export const deviceNames: readonly string[] = [
  'iphone|ipad|ipod|imac|macbook|android|samsung|galaxy|blackberry|nokia|huawei|honor|xiaomi|redmi|htc|motorola|oneplus',
  'sony xperia|lg mobile|windows|outlook|yahoo|proton|protonmail|tutanota|tuta|thunderbird|fairemail|k-9|bluemail|gmx',
  'web.de|aquamail|mailbird|zoho|airmail|polymail|superhuman|spark|mobile device|smartphone|mobiltelefon|handy|smarttelefon',
];

/** How a legal notice begins, and the notes of virus scanners and of who would save paper. */
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

/** What the same paragraph speaks of. Without one of these it may be anything. */
export const noticeSubjects: readonly string[] = [
  'confidential|privileged|intended recipient|intended only|intended solely|for viruses|virus-free|before printing|before you print|legally',
  'vertraulich|auf viren|virenfrei|ausdrucken|rechtlich geschützt|vertrouwelijk|uitsluitend bestemd|confidentiel|destinataire|imprimer',
  'confidencial|destinatario|destinatário|imprimir|riservat|destinatari|stampare|confidențial|konfidentiell|fortrolig',
  'konfidensiel|luottamuksel|poufn|wyłącznie|důvěrn|dôvern|bizalmas|gizli|конфиденциальн|конфіденційн|εμπιστευτικ',
  '機密|誤って|保密|机密|기밀',
];
