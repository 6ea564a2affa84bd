/**
 * Every page of the admin by its name, ready to be sent: all faces, with and without trouble.
 *
 * What they show is in views-mail.ts, views-encryption.ts and views-diagnostics.ts.
 */
import { encryptionPage } from '../../../../src/adapters/web/pages/encryption.ts';
import type { EnableForm, Frame } from '../../../../src/adapters/web/pages/layout.ts';
import { messagePage } from '../../../../src/adapters/web/pages/layout.ts';
import { mailboxPage } from '../../../../src/adapters/web/pages/mailbox.ts';
import { addMailboxPage, mailboxSettingsPage } from '../../../../src/adapters/web/pages/mailbox-form.ts';
import { mailboxesPage } from '../../../../src/adapters/web/pages/mailbox-list.ts';
import { callbackPage, connectPage } from '../../../../src/adapters/web/pages/oauth.ts';
import { overviewPage } from '../../../../src/adapters/web/pages/overview.ts';
import { quarantinePage } from '../../../../src/adapters/web/pages/quarantine.ts';
import { type SignInView, signInPage } from '../../../../src/adapters/web/routes/sign-in.ts';
import { newMailboxTexts } from '../../../../src/admin/mailboxes/form.ts';
import type { EncryptionView } from '../../../../src/admin/service.ts';
import * as troubles from './views-diagnostics.ts';
import * as encryption from './views-encryption.ts';
import * as mail from './views-mail.ts';

export const frame: Frame = {
  session: { name: 'marta', csrf: 'c'.repeat(43) },
  csrf: 'c'.repeat(43),
  flash: null,
  assets: 'test',
  atMs: encryption.nowMs,
};

export const strangerFrame: Frame = { ...frame, session: null };

function encryptionIs(view: EncryptionView, form: EnableForm | null = null, more: Partial<Frame> = {}): () => string {
  return () => encryptionPage({ ...frame, ...more }, view, form);
}

function signInIs(more: Partial<SignInView>): () => string {
  return () => signInPage(strangerFrame, { error: null, wasSignedOut: false, hasNoAccount: false, name: '', ...more });
}

const notFound = {
  title: 'Not found',
  text: 'There is no such page.',
  hint: 'Check the address, or go on from the overview.',
};

const emptyForm = { texts: newMailboxTexts, error: null, probe: null, isProbed: true };

const redirectUri = 'https://mail.example.org/admin/oauth/callback';

const halfForm: EnableForm = { keyLoss: true, backup: false };

/** Every page and face, by its name. */
export const pages: Readonly<Record<string, () => string>> = {
  'sign-in': signInIs({}),
  'sign-in-first': signInIs({ hasNoAccount: true }),
  'sign-in-refused': signInIs({ error: 'Name or password is wrong.', name: 'marta' }),
  'sign-in-ended': signInIs({ wasSignedOut: true }),
  overview: () => overviewPage(frame, mail.overview),
  'overview-calm': () => overviewPage(frame, mail.overviewCalm),
  'overview-broken': () => overviewPage(frame, mail.overviewBroken),
  quarantine: () =>
    quarantinePage({ ...frame, flash: { tone: 'good', text: 'Released: it is ticket 4711.' } }, mail.quarantine),
  'quarantine-empty': () => quarantinePage(frame, mail.quarantineEmpty),
  'quarantine-chosen': () => quarantinePage(frame, mail.quarantineChosen),
  'mailbox-unconfirmed': () => mailboxPage(frame, mail.unconfirmedMailbox, redirectUri),
  'mailbox-confirmed': () => mailboxPage(frame, mail.confirmedMailbox, redirectUri),
  'mailbox-off': () => mailboxPage(frame, { ...mail.confirmedMailbox, state: 'off' }, redirectUri),
  'mailbox-doubtful': () => mailboxPage(frame, mail.doubtfulMailbox, redirectUri),
  'mailbox-tested': () =>
    mailboxPage(frame, mail.confirmedMailbox, redirectUri, { error: null, probe: mail.passedProbe }),
  mailboxes: () => mailboxesPage(frame, mail.overview),
  'mailbox-add': () => addMailboxPage(frame, { ...emptyForm, providers: mail.unconfirmedMailbox.providers }),
  'mailbox-add-untrusted': () => addMailboxPage(frame, { ...emptyForm, providers: [], probe: mail.untrustedProbe }),
  'mailbox-settings': () => mailboxSettingsPage(frame, mail.doubtfulMailbox, null),
  ...Object.fromEntries(
    Object.entries(mail.signIns).map(([name, signIn]) => [
      `mailbox-${name}`,
      () => mailboxPage(frame, { ...mail.confirmedMailbox, signIn }, redirectUri),
    ]),
  ),
  connect: () => connectPage(frame, mail.begunSignIn),
  callback: () => callbackPage(strangerFrame),
  off: encryptionIs(encryption.off),
  'off-mariadb': encryptionIs(encryption.offMariadb),
  'off-refused': encryptionIs(encryption.off, halfForm),
  'off-after': encryptionIs(encryption.switchedOff),
  starting: encryptionIs(encryption.starting),
  working: encryptionIs(encryption.working),
  rotating: encryptionIs(encryption.rotating),
  on: encryptionIs(encryption.on),
  'on-verified': encryptionIs(encryption.onVerified),
  'on-protected': encryptionIs(encryption.onProtected),
  'on-unopened': encryptionIs(encryption.leftUnopened),
  disabling: encryptionIs(encryption.disabling),
  'disabling-refused': encryptionIs(encryption.disablingRefused, null, {
    flash: { tone: 'bad', text: 'The file is not right yet: see below.' },
  }),
  'disabling-link': encryptionIs(encryption.disablingLink),
  unfinished: encryptionIs(encryption.unfinished),
  missing: encryptionIs(troubles.missing),
  refused: encryptionIs(troubles.refused),
  orphaned: encryptionIs(troubles.orphaned),
  forged: encryptionIs(troubles.forged),
  message: () => messagePage(strangerFrame, { ...notFound, isKnown: true, isRepeatable: false }),
  'message-away': () => messagePage(strangerFrame, { ...notFound, isKnown: true, isRepeatable: true }),
};
