/** Pages that say one thing: a request that was turned away, or something that failed. Nothing of the request is in them. */
import type { RefusalReason } from '../../admin/service.ts';
import { type Answer, page } from './answers.ts';
import { messagePage } from './pages/message.ts';

type Message = { readonly code: number; readonly title: string; readonly text: string; readonly hint: string | null };

const bad = {
  code: 400,
  title: 'Bad request',
  text: 'What was sent is no request that a page here makes.',
  hint: null,
};
const out = 'Nothing was changed. Open the page again, and try once more from there.';
const seen = 'The page shows how things are now.';

const refusals: Readonly<Record<RefusalReason, Message>> = {
  bad_request: bad,
  not_signed_in: { code: 403, title: 'Not signed in', text: 'Nothing was changed. Sign in first.', hint: null },
  csrf: { code: 403, title: 'The form is out of date', text: out, hint: null },
  foreign_origin: {
    code: 403,
    title: 'Not from this page',
    text: 'The form came from somewhere else. Nothing was changed.',
    hint: 'Behind a proxy, [admin] origin must be the address that stands in the browser.',
  },
  foreign_host: {
    code: 421,
    title: 'Not served under this name',
    text: 'The admin page is not served under the name that was asked for.',
    hint: 'It answers to the name of its address, or to [admin] origin.',
  },
  method: { code: 405, title: 'Not that way', text: 'This address does not answer to such a request.', hint: null },
  not_found: { code: 404, title: 'Not found', text: 'There is no such page.', hint: null },
  too_large: { code: 413, title: 'Too large', text: 'The form is larger than any of ours.', hint: null },
  not_acknowledged: { code: 422, title: 'Both boxes are needed', text: out, hint: null },
  proof_refused: { code: 409, title: 'The proof file is not right', text: seen, hint: null },
  operation_running: { code: 409, title: 'Another operation runs', text: seen, hint: null },
  not_possible_now: { code: 409, title: 'Not possible now', text: seen, hint: null },
};

/** What is known of who asks. `isKnown`: signed in, or was; `isForm`: the same address does not show a page. */
export type Asked = { readonly isKnown: boolean; readonly isForm: boolean };

const stranger: Asked = { isKnown: false, isForm: true };

/** `code`: another one than the reason has. */
export function refusalAnswer(reason: RefusalReason, assets: string, code?: number, isKnown = false): Answer {
  const message = { ...refusals[reason], ...(code === undefined ? {} : { code }) };
  return answerOf(message, assets, { isKnown: isKnown && reason !== 'not_signed_in', isForm: true });
}

export function databaseAnswer(assets: string, asked: Asked = stranger): Answer {
  const text = 'The database does not answer, so nothing can be shown or changed. Mail stays on its servers meanwhile.';
  const hint = 'On the host of the daemon, ticketmaild status says more.';
  return answerOf({ code: 503, title: 'The database is away', text, hint }, assets, asked);
}

export function lateAnswer(assets: string, asked: Asked = stranger): Answer {
  const text = 'It took too long. Whether something was changed, the page shows when it is opened again.';
  return answerOf({ code: 503, title: 'No answer in time', text, hint: 'See ticketmaild status.' }, assets, asked);
}

export function failedAnswer(assets: string, asked: Asked = stranger): Answer {
  const text = 'This is a defect of ticketmaild. Mail is fetched as before.';
  return answerOf({ code: 500, title: 'Something failed', text, hint: 'The log of the daemon says more.' }, assets, {
    ...asked,
    isForm: true,
  });
}

function answerOf({ code, ...view }: Message, assets: string, { isKnown, isForm }: Asked): Answer {
  const frame = { session: null, csrf: '', flash: null, assets, atMs: Date.now() };
  return page(messagePage(frame, { ...view, isKnown, isRepeatable: !isForm }), code);
}
