/**
 * Overview and quarantine as a daemon with two workers and some trouble would show them, one view for each face.
 *
 * The times are of one afternoon; nothing here is measured.
 */
import type {
  MailboxLine,
  MailboxSettingsView,
  MailboxSignIn,
  OverviewView,
  ProbeView,
  ProviderSignIn,
  QuarantinedLine,
  QuarantineView,
  ReasonLine,
} from '../../../../src/admin/service.ts';
import { dayMs, hourMs, keyFilePath, keyTwo, minuteMs, nowMs, secondMs } from './views-encryption.ts';

function mailbox(name: string, host: string, more: Partial<MailboxLine> = {}): MailboxLine {
  return {
    name,
    host,
    state: 'ok',
    lastSuccessMs: nowMs - 24 * secondMs,
    nextPollMs: nowMs + 36 * secondMs,
    push: { state: 'polled', code: 'idle_unsupported', until: null },
    isUnconfirmed: false,
    needsConsent: false,
    error: null,
    ...more,
  };
}

const departments = ['support', 'billing', 'returns', 'orders', 'hr', 'it', 'legal', 'press', 'events', 'warranty'];
const places = ['berlin', 'lisbon', 'oslo', 'vienna', 'gent'];

export const unconfirmedMailbox: MailboxSettingsView = {
  ...{ name: 'desk', server: 'desk@example.org at imap.example.org:993 (TLS implicit)', folder: 'Sent' },
  ...{ startMs: nowMs - dayMs, action: 'move', target: 'Archive/2026', effect: 'each stored message is moved there' },
  ...{ digest: 'd'.repeat(43), state: 'unconfirmed' },
  signIn: { kind: 'password', user: 'desk@example.org' },
  ...{ version: 'v'.repeat(43), isPaused: false, doubt: null, providers: [{ name: 'm365', label: 'Microsoft' }] },
  texts: {
    ...{ name: 'desk', host: 'imap.example.org', port: '993', tls: 'implicit', allow_plaintext: '', trust: 'system' },
    ...{ fingerprint: '', authorities: '', user: 'desk@example.org', sign_in: 'password:', grant: '', folder: 'Sent' },
    ...{ since: '', action: 'move', target: 'Archive/2026', interval: '', addresses: 'desk@example.org' },
  },
};

const certificate = {
  ...{ subject: 'CN=imap.example.org', issuer: 'CN=imap.example.org', validFromMs: nowMs - dayMs },
  ...{ validUntilMs: nowMs + 300 * dayMs, fingerprint: '0123456789abcdef'.repeat(4) },
};

/** A server with a certificate that no authority signed. */
export const untrustedProbe: ProbeView = {
  stages: [
    { stage: 'name', result: 'passed' },
    { stage: 'connect', result: 'passed' },
    { stage: 'tls', result: 'failed' },
    { stage: 'login', result: 'not_reached' },
    { stage: 'folder', result: 'not_reached' },
  ],
  failure: {
    code: 'tls_untrusted',
    message: 'The certificate of the server is not trusted.',
    hint: 'Trust its authority, or pin the certificate.',
  },
  ...{ address: null, certificate, mechanism: null, messages: null, folders: [], leftOut: 0, notes: [] },
};

export const passedProbe: ProbeView = {
  stages: untrustedProbe.stages.map(({ stage }) => ({ stage, result: 'passed' })),
  ...{ failure: null, address: '192.0.2.7:993', certificate, mechanism: 'PLAIN', messages: 12, leftOut: 0, notes: [] },
  folders: ['INBOX', 'Archive/2026', 'Sent'],
};

/** Nothing vouches for its server. */
export const doubtfulMailbox: MailboxSettingsView = {
  ...{ ...unconfirmedMailbox, isPaused: true },
  doubt: 'Name or server of mailbox desk were changed by another program since a command confirmed them.',
};

/** A grant whose consent the provider ended. */
const endedSignIn: MailboxSignIn = {
  ...{
    kind: 'oauth',
    user: 'desk@example.org',
    grant: 'desk',
    provider: 'Microsoft',
    providerName: 'm365',
    flow: 'person',
  },
  ...{ account: 'desk@example.org', state: 'needs_consent', sinceMs: nowMs - dayMs, cutOffAtMs: null },
  ...{ errorCode: 'invalid_grant', connect: [{ provider: 'm365', label: 'Microsoft' }] },
  command: 'ticketmaild mailbox authorize desk',
};

export const begunSignIn: ProviderSignIn = {
  ...{ mailbox: 'desk', label: 'Microsoft', user: 'desk@example.org' },
  url: 'https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize?client_id=1&state=s&prompt=select_account',
  redirectUri: 'https://mail.example.org/admin/oauth/callback',
};

export const signIns: Readonly<Record<string, MailboxSignIn>> = {
  'needs-consent': endedSignIn,
  'cut-off': { ...endedSignIn, cutOffAtMs: nowMs - dayMs },
  ready: { ...endedSignIn, state: 'ready', errorCode: null },
  new: {
    ...{ ...endedSignIn, account: null, provider: null, flow: null, state: 'no_grant', sinceMs: null, errorCode: null },
    connect: [endedSignIn.connect, [{ provider: 'google', label: 'Google' }]].flat(),
  },
  application: { ...endedSignIn, flow: 'application', account: null, state: 'ready', errorCode: null, connect: [] },
  refused: { ...endedSignIn, flow: 'application', account: null, state: 'refused', errorCode: '7000222', connect: [] },
  'no-provider': { ...endedSignIn, flow: null, state: 'no_provider', provider: 'old', connect: [] },
};

export const confirmedMailbox: MailboxSettingsView = {
  ...{ ...unconfirmedMailbox, startMs: null, action: 'delete', target: null },
  ...{ effect: 'each stored message is deleted from the folder', state: 'confirmed' },
};

/** Fifty mailboxes, those in trouble first. */
const mailboxes: readonly MailboxLine[] = [
  mailbox('returns-oslo', 'imap.nordpost.example', {
    state: 'failing',
    lastSuccessMs: nowMs - 2 * dayMs,
    nextPollMs: nowMs + 14 * minuteMs,
    error: {
      reason: 'login_refused',
      storedMessage: 'the server refused user name or password: "[AUTHENTICATIONFAILED] Authentication failed."',
      hint: 'The server refused user or password: set it anew with mailbox set-password.',
      sinceMs: nowMs - 2 * dayMs,
    },
  }),
  mailbox('press-gent', 'mail.gent.example', {
    state: 'failing',
    lastSuccessMs: nowMs - 47 * minuteMs,
    nextPollMs: nowMs + 4 * minuteMs,
    error: {
      reason: 'tls_expired: the certificate of mail.gent.example ended on 2026-03-17T13:45:00Z',
      storedMessage: null,
      hint: 'The certificate is out of date: renew it on the mail server.',
      sinceMs: nowMs - 47 * minuteMs,
    },
  }),
  mailbox('archive-oslo', 'imap.nordpost.example', {
    isUnconfirmed: true,
    error: {
      reason: 'post_action_unconfirmed: delete waits, since no command has confirmed these settings',
      storedMessage: null,
      hint: 'Check its settings, and confirm them if they are yours: ticketmaild mailbox confirm NAME',
      sinceMs: null,
    },
  }),
  mailbox('legal-vienna', 'imap.example.org', {
    state: 'waiting',
    lastSuccessMs: nowMs - 3 * hourMs,
    nextPollMs: null,
    error: {
      reason: `key_unknown: its password is sealed under the key ${keyTwo}, which is not open here`,
      storedMessage: null,
      hint: 'Put the key file with that key back, or set the password anew.',
      sinceMs: nowMs - 3 * hourMs,
    },
  }),
  mailbox('events-berlin', 'imap.example.org', {
    state: 'paused',
    lastSuccessMs: nowMs - 20 * dayMs,
    nextPollMs: null,
  }),
  mailbox('warranty-lisbon', 'imap.example.org', { state: 'unknown', lastSuccessMs: null, nextPollMs: nowMs }),
  ...departments
    .flatMap((department) => places.map((place) => `${department}-${place}`))
    .slice(0, 44)
    .map((name, index) =>
      mailbox(name, 'imap.example.org', index % 3 === 0 ? { push: { state: 'idling', code: null, until: null } } : {}),
    ),
];

const hours = Array.from({ length: 24 }, (_, index) => {
  const startMs = Math.floor(nowMs / hourMs) * hourMs - (23 - index) * hourMs;
  const hour = new Date(startMs).getUTCHours();
  const messages = Math.round(18 + 160 * Math.exp(-((hour - 10) ** 2) / 12) + 90 * Math.exp(-((hour - 15) ** 2) / 6));
  return { startMs, messages: index === 23 ? 71 : messages, tickets: Math.round(messages * 0.41) };
});

const reasons: readonly ReasonLine[] = [
  {
    reason: 'too_large',
    count: 3,
    meaning: 'It is larger than [message] max_size_mb: only its header was fetched.',
    hint: 'Release fetches it all the same; or raise the limit, then retry.',
  },
  {
    reason: 'own_address',
    count: 2,
    meaning: 'It comes from an address of this helpdesk itself: a ticket of it may answer itself for ever.',
    hint: 'Release takes it in as it is.',
  },
  {
    reason: 'sender_flood',
    count: 41,
    meaning: 'Its sender has sent more messages within the hour than the limit allows.',
    hint: 'Where they are wanted: ticketmaild quarantine release --sender ADDRESS.',
  },
];

export const overview: OverviewView = {
  atMs: nowMs,
  isReady: true,
  failingChecks: [
    {
      check: 'mailboxes',
      isWarning: false,
      reason: '2 of 50 mailboxes fail',
      hint: 'They are listed below, each with its hint.',
    },
    {
      check: 'certificates',
      isWarning: true,
      reason: 'certificate_ends: the certificate of imap.example.org:993 ends in 9 days',
      hint: 'Renew it on the mail server.',
    },
  ],
  counts: { ok: 45, failing: 2, waiting: 1, paused: 1, unknown: 1 },
  query: { page: 1, show: 'all', search: '' },
  mailboxes: { list: mailboxes, page: 1, pages: 3, total: 120 },
  activity: hours,
  quarantine: { count: 46, reasons },
  workers: [
    { host: 'desk1.example.org', pid: 811, isLive: true, isThisOne: true, seenAtMs: nowMs },
    { host: 'desk2.example.org', pid: 1204, isLive: true, isThisOne: false, seenAtMs: nowMs - 2 * secondMs },
    { host: 'desk2.example.org', pid: 977, isLive: false, isThisOne: false, seenAtMs: nowMs - 3 * dayMs },
  ],
};

export const overviewCalm: OverviewView = {
  ...overview,
  failingChecks: [],
  counts: { ok: 8, failing: 0, waiting: 0, paused: 0, unknown: 0 },
  mailboxes: { list: mailboxes.slice(5, 13), page: 1, pages: 1, total: 8 },
  quarantine: { count: 0, reasons: [] },
  workers: overview.workers.slice(0, 1),
};

export const overviewBroken: OverviewView = {
  ...overview,
  isReady: false,
  failingChecks: [
    {
      check: 'vault',
      isWarning: false,
      reason: `key_file_missing: encryption is on, and there is no key file at ${keyFilePath}`,
      hint: 'Put the key file back from its backup; mailboxes wait until then, and no mail is lost.',
    },
    { check: 'disk', isWarning: false, reason: 'disk_full: no space left under /var/lib/ticketmaild', hint: null },
  ],
  query: { page: 1, show: 'failing', search: 'nothing like it' },
  mailboxes: { list: [], page: 1, pages: 1, total: 0 },
  activity: null,
};

function held(uid: number, reason: string, from: string | null, subject: string | null): QuarantinedLine {
  const id = `support-berlin/1698765432/${uid}`;
  return {
    id,
    mailbox: 'support-berlin',
    reason,
    sinceMs: nowMs - uid * 7 * minuteMs,
    sizeBytes: uid * 48_611,
    from,
    subject,
  };
}

/** What strangers wrote: long words, another direction, characters that overrule directions, markup. */
export const quarantine: QuarantineView = {
  sizeBytesMax: 26_214_400,
  query: { page: 1, reason: null },
  reasons,
  messages: {
    list: [
      held(811, 'too_large', '"Ana Pereira" <ana@studio.example>', 'Scans of all 40 invoices, as you asked'),
      held(12, 'own_address', 'noreply@example.org', 'Re: Re: Re: Automatic reply: your ticket has been received'),
      held(40, 'sender_flood', 'alerts@monitor.example', 'x'.repeat(400)),
      held(41, 'sender_flood', '"حسن" <hasan@post.example>', 'مرحبا، الطابعة في المكتب الثالث لا تعمل منذ أمس'),
      held(
        42,
        'sender_flood',
        '"\u202egro.elpmaxe@tnuocca" <a@b.example>',
        '\u202efdp.exe.ecioвni \u2066<script>alert(1)</script>',
      ),
      held(43, 'too_large', null, null),
      held(44, 'parse_failed', 'somebody@example.net', '   '),
    ],
    page: 1,
    pages: 2,
    total: 46,
  },
};

export const quarantineEmpty: QuarantineView = {
  sizeBytesMax: 26_214_400,
  query: { page: 1, reason: null },
  reasons: [],
  messages: { list: [], page: 1, pages: 1, total: 0 },
};

export const quarantineChosen: QuarantineView = {
  sizeBytesMax: 26_214_400,
  query: { page: 2, reason: 'sender_flood' },
  reasons,
  messages: { ...quarantine.messages, list: quarantine.messages.list.slice(2, 5), page: 2, total: 41 },
};
