/**
 * The titles by which programs of many languages say: here begins a mail that I pass on. A table alone.
 *
 * One row a language. In lower case, without the dashes and the colon around them.
 */

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

/** The same with a name behind: mutt, Notes. Compared with the beginning. */
export const forwardTitleBeginnings: readonly string[] = [
  'forwarded message from |forwarded by |weitergeleitet von |transféré par |inoltrato da |reenviado por |encaminhado por ',
];
