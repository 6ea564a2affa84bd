/**
 * Challenges: a filter holds the mail until its sender proves to be a person. They are answers, though some are
 * dressed as delivery reports.
 */
import { type Facts, has, isBulk, isSuppressed, type Signs } from './signs.ts';

const challengeText =
  /(?:sender (?:is )?not (?:pre-?)?approved|add yourself to my (?:[\w ]{0,30})guest list|(?:your (?:message|e-?mail)|this message)[^\n]{0,120}\b(?:waitlisted|held|quarantined) (?:until|because|pending)[^\n]{0,60}(?:confirm|verif|approv|guest)|(?:confirm|verify|prove) that you(?: are|'re| sent)[^\n]{0,80}(?:human|person|this (?:message|e-?mail)|not (?:a )?(?:spammer|spam|robot|machine))|to (?:complete|finish) this verification|x-boxbe-notice|challenge[- ]response (?:system|filter))/iu;
const challengeSubject =
  /\((?:action|verification|confirmation) required\)|^please confirm your (?:message|e-?mail|mail)\b|\bsender (?:verification|confirmation)\b|\bspam ?arrest\b/iu;

/** Each alternative of the expression has one of these, and nearly no mail has any. */
const challengeParts = [
  'approved',
  'guest list',
  'waitlisted',
  'held ',
  'quarantined',
  'that you',
  ' this verif',
  'boxbe',
  'challenge',
];

/** A person quotes the question or tells of it; a program asks it, with a link or code to answer by. */
const answerWay = /https?:\/\/|\b(?:code|pin|token)\b[^\n]{0,20}[:=]? {0,3}[A-Z0-9]{4,}/u;
const robot = /^(?:no-?reply|do-?not-?reply|noreply|challenge|verify|verification|confirm(?:ation)?)\b/iu;

/** Asked only of mail that is a report, or whose subject or place in a conversation lets it be an answer. */
export function isChallenge(facts: Facts, signs: Signs): boolean {
  const isReport = signs.reportType !== null;
  if (!isReport && !challengeSubject.test(facts.subject.slice(0, 1000)) && !has(facts, 'in-reply-to')) return false;
  const start = facts.text.slice(0, 4000);
  const low = start.toLowerCase();
  if (!challengeParts.some((part) => low.includes(part)) || !challengeText.test(start)) return false;
  return isReport || (isMachine(facts, signs) && answerWay.test(start));
}

function isMachine(facts: Facts, { autoSubmitted, hasNullPath }: Signs): boolean {
  if (autoSubmitted !== '' || hasNullPath || isSuppressed(facts) || isBulk(facts)) return true;
  return robot.test(facts.from?.address ?? '');
}
