/** Quoted history in messages with HTML only, as mail programs write it. */
import { expect, test } from 'vitest';
import { parseMessage } from '../../../src/mail/parse.ts';
import { replyTextOf } from '../../../src/mail/quote/quote.ts';

async function replyOf(html: string, subject = 'Re: order'): Promise<string> {
  const source = `Subject: ${subject}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>${html}</body></html>`;
  const { text, marks } = await parseMessage(new Uint8Array(Buffer.from(source)));
  return replyTextOf(text, marks);
}

const fields = '<b>From:</b> Ann Lee &lt;ann@shop.example&gt;<br><b>Sent:</b> Tuesday, January 15, 2019 11:12 AM<br>';
const moreFields = '<b>To:</b> Bob &lt;bob@site.test&gt;<br><b>Subject:</b> order';

test.each([
  [
    'Gmail',
    '<div dir="ltr">It works.</div><br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On Tue, Jan 15, 2019 at ' +
      '11:12 AM Ann &lt;<a href="mailto:ann@shop.example">ann@shop.example</a>&gt; wrote:<br></div>' +
      '<blockquote class="gmail_quote" style="margin:0 0 0 .8ex;border-left:1px #ccc solid"><div>Does it?</div></blockquote></div>',
  ],
  [
    'Outlook',
    '<div class="WordSection1"><p class="MsoNormal">It works.</p><p class="MsoNormal">&nbsp;</p><div><div style="border:none;' +
      `border-top:solid #E1E1E1 1.0pt"><p class="MsoNormal">${fields}${moreFields}</p></div></div><p class="MsoNormal">Does it?</p></div>`,
  ],
  [
    'Outlook on the web',
    `<div>It works.</div><hr style="display:inline-block;width:98%"><div id="divRplyFwdMsg">${fields}${moreFields}</div><div>Does it?</div>`,
  ],
  [
    'Apple Mail',
    'It works.<div><br><blockquote type="cite"><div>On 15 Jan 2019, at 11:12, Ann &lt;ann@shop.example&gt; wrote:</div><br>' +
      '<div>Does it?</div></blockquote></div>',
  ],
  [
    'Thunderbird',
    '<p>It works.</p><div class="moz-cite-prefix">On 15/01/2019 11:12, Ann wrote:<br></div>' +
      '<blockquote type="cite" cite="mid:a@shop.example"><p>Does it?</p></blockquote><pre class="moz-signature">-- <br>Bob</pre>',
  ],
  [
    'Yahoo',
    '<div>It works.</div><div class="yahoo_quoted"><div>On Tuesday, January 15, 2019, 11:12:00 AM GMT+1, Ann ' +
      '&lt;ann@shop.example&gt; wrote: </div><div><br></div><div>Does it?</div></div>',
  ],
  [
    'a mobile',
    '<div>It works.</div><div><br></div><div>Von meinem iPhone gesendet</div><div><br>Am 15.01.2019 um 11:12 schrieb Ann ' +
      '&lt;ann@shop.example&gt;:<br><br></div><blockquote type="cite"><div>Does it?</div></blockquote>',
  ],
])('%s', async (_program, html) => {
  expect(await replyOf(html)).toBe('It works.');
});

test('a forward in HTML has its forwarded message unmarked', async () => {
  const html = `<div>Please look.</div><div style="border-top:solid 1pt"><p>${fields}${moreFields}</p></div><p>It broke.</p>`;
  expect(await replyOf(html, 'WG: order')).toMatch(/^Please look\..*Ann Lee.*It broke\.$/su);
});
