/**
 * Servers that echo the password in any form: no failure contains it.
 */
import { expect, test } from 'vitest';
import type { Failure } from '../../../../src/errors.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import { openSession, plainTo, secret } from '../setting.ts';

const password = 'XQ7-Z9+W_K#42!';
const bytes = Buffer.from(password);
const forms: Readonly<Record<string, string>> = {
  clear: password,
  lower: password.toLowerCase(),
  quoted: `"${password}"`,
  base64: bytes.toString('base64'),
  sasl: Buffer.from(`\0ada\0${password}`).toString('base64'),
  hex: bytes.toString('hex'),
  url: encodeURIComponent(password),
  letters: password.replaceAll(/[^A-Z0-9]/g, ''),
};

const answers: Readonly<Record<string, (tag: string, form: string) => string>> = {
  'the text of a NO': (tag, form) => `${tag} NO wrong: ${form} is not it`,
  'the text of a NO with a code': (tag, form) => `${tag} NO [UNAVAILABLE] ${form}`,
  'the text of a BAD': (tag, form) => `${tag} BAD ${form}`,
  'a BAD without a tag': (_tag, form) => `BAD "${form}"`,
  'a BYE': (_tag, form) => `* BYE ${form}`,
  'the BYE to a command': (tag, form) => `${tag} BYE ${form}`,
  'the response code of a NO': (tag, form) => `${tag} NO [${form}] no`,
  'the response code of a BAD': (tag, form) => `${tag} BAD [${form}] no`,
  'the argument of a known code': (tag, form) => `${tag} NO [BADCHARSET (${form})] no`,
  'the host of a referral': (tag, form) => `${tag} NO [REFERRAL imap://ada@${form}.example.test/] there`,
  'the user of a referral': (tag, form) => `${tag} NO [REFERRAL imap://${form}@mail.example.test/] there`,
  'the host of a referral in a BYE': (_tag, form) => `* BYE [REFERRAL imap://ada@${form}/] there`,
  'a status of its own': (tag, form) => `${tag} ${form} no`,
};

const stages = ['AUTHENTICATE', 'SELECT', 'UID STORE'];
const cases = stages.flatMap((stage) => Object.keys(answers).map((answer) => [answer, stage] as const));

/** All that a log line or a terminal could be made of, in capitals. */
function told(refused: Failure): string {
  const { message, fields, hint, cause, stack } = refused;
  const inside = cause instanceof Error ? JSON.stringify(cause, Object.getOwnPropertyNames(cause)) : cause;
  return JSON.stringify([message, fields, hint, stack, cause, inside, refused]).toUpperCase();
}

async function refusalOf(stage: string, line: (tag: string) => string): Promise<Failure> {
  const script: Script = (command, _rest, tag, { say, next, socket }) => {
    if (command !== stage) return false;
    const answer = (): void => {
      say(line(tag));
      if (/BYE/.test(line(tag))) socket.end();
    };
    if (stage !== 'AUTHENTICATE') answer();
    else {
      say('+ ');
      next(answer);
    }
    return true;
  };
  await using server = await startScriptedServer({ script });
  const run = async (): Promise<void> => {
    await using session = await openSession(plainTo(server.port), secret(password));
    await session.apply({ kind: 'seen' }, [1]);
  };
  const refused = await failureOf(run());
  expect(server.lines.some((sent) => sent.includes(stage))).toBe(true);
  return refused;
}

test.each(cases)('a password in %s to %s is not shown, in any form', async (answer, stage) => {
  for (const [name, form] of Object.entries(forms)) {
    const refused = await refusalOf(stage, (tag) => answers[answer]?.(tag, form) ?? '');
    expect(refused.code, name).toMatch(
      /^(login_refused|server_(refused|busy|protocol_error|referral)|connection_lost)$/,
    );
    const text = told(refused);
    for (const each of Object.values(forms)) {
      expect(text, name).not.toContain(each.toUpperCase());
      expect(text, name).not.toContain(JSON.stringify(each).slice(1, -1).toUpperCase());
    }
  }
});

test.each([
  ['NO [noperm] no', { status: 'NO', response_code: 'NOPERM' }],
  ['NO [READ-ONLY] no', { status: 'NO', response_code: 'READ-ONLY' }],
  ['BAD [CLIENTBUG] no', { status: 'BAD', response_code: 'CLIENTBUG' }],
  ['NO [NOPERMX] no', { status: 'NO' }],
  ['NO no', { status: 'NO' }],
  ['BAD no', { status: 'BAD' }],
])('of the answer "%s" the status is shown, and the code when it is a known one', async (answer, fields) => {
  const refused = await refusalOf('UID STORE', (tag) => `${tag} ${answer}`);
  expect(refused.fields).toEqual(fields);
});
