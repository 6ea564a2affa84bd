/**
 * The templates of the admin page, read as markup: whatever strangers, servers and files bring in stays text.
 *
 * The reader below knows only what our templates may write: quoted attributes, tags that are closed, no stray bracket.
 */
import { describe, expect, test } from 'vitest';
import { readAssets } from '../../../../src/adapters/web/assets.ts';
import { encryptionPage } from '../../../../src/adapters/web/pages/encryption.ts';
import { proofFaults } from '../../../../src/adapters/web/pages/encryption-disable.ts';
import { messagePage } from '../../../../src/adapters/web/pages/layout.ts';
import { mailboxPage } from '../../../../src/adapters/web/pages/mailbox.ts';
import { addMailboxPage, mailboxSettingsPage } from '../../../../src/adapters/web/pages/mailbox-form.ts';
import { mailboxesPage } from '../../../../src/adapters/web/pages/mailbox-list.ts';
import { connectPage } from '../../../../src/adapters/web/pages/oauth.ts';
import { overviewPage } from '../../../../src/adapters/web/pages/overview.ts';
import { quarantinePage } from '../../../../src/adapters/web/pages/quarantine.ts';
import { signInPage } from '../../../../src/adapters/web/routes/sign-in.ts';
import type { EncryptionView } from '../../../../src/admin/service.ts';
import { frame, pages, strangerFrame } from './views.ts';
import * as troubles from './views-diagnostics.ts';
import * as encryption from './views-encryption.ts';
import * as mail from './views-mail.ts';

type Tag = { readonly name: string; readonly attributes: ReadonlyMap<string, string> };
type Reading = { readonly tags: readonly Tag[]; readonly text: string };

const voidTags = new Set(['meta', 'link', 'input', 'img']);
const tagPattern = /<(\/?)([a-z][a-z0-9]*)((?: [a-z-]+(?:[A-Z]\w+)?(?:="[^"<>]*")?)*)(\/?)>/y;
const textPattern = /[^<>]+/y;

/** Throws at the first foreign element. */
function readMarkup(page: string): Reading {
  const start = '<!doctype html>';
  expect(page.startsWith(start)).toBe(true);
  const tags: Tag[] = [];
  const open: string[] = [];
  let text = '';
  for (let at = start.length; at < page.length; ) {
    textPattern.lastIndex = at;
    const words = textPattern.exec(page)?.[0] ?? '';
    text += words;
    at += words.length;
    if (at === page.length) break;
    tagPattern.lastIndex = at;
    const [whole, close, name = '', attributes = '', closed] = tagPattern.exec(page) ?? [];
    if (whole === undefined) throw new Error(`no markup of ours: ${page.slice(at, at + 200)}`);
    at += whole.length;
    if (close === '/' && open.pop() !== name) throw new Error(`closed where it is not open: ${name}`);
    if (close === '') tags.push({ name, attributes: attributesOf(attributes) });
    if (close === '' && closed === '' && !voidTags.has(name)) open.push(name);
  }
  expect(open).toEqual([]);
  return { tags, text };
}

function attributesOf(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(/ ([a-zA-Z-]+)(?:="([^"]*)")?/g)].map(([, name = '', value = '']) => [name, value]));
}

/** The shape of a page: names of tags and attributes, without any text and value. */
function shapeOf(page: string): readonly string[] {
  return readMarkup(page).tags.map(({ name, attributes }) => `${name} ${[...attributes.keys()].join(' ')}`);
}

const hostile = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)' x='",
  '" autofocus onfocus="alert(1)',
  '</title></main><style>*{display:none}</style>',
  '&lt;script&gt;&amp;#60;',
  'javascript:alert(1)//',
  '\u0000\u0008\u202e\ud800<!--',
  '{{7*7}}`',
  '2026-01-31T08:30:00Z"><b>',
];

/** Words that the contract lists, and not texts. */
const listed = new Set(['mode', 'state', 'kind', 'check', 'show', 'unfinished', 'tone', 'stage', 'result']);

/** Every text in a view, however deep, exchanged for `text`; null stays. */
function filled<T>(value: T, text: string, key = ''): T {
  const exchanged = (): unknown => {
    if (typeof value === 'string') return listed.has(key) || isCheckName(value) ? value : text;
    if (Array.isArray(value)) return value.map((one) => filled(one, text, key));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, filled(one, text, name)]));
  };
  return exchanged() as T;
}

function isCheckName(value: string): boolean {
  return ['exists', 'owner', 'newer'].includes(value);
}

const encryptionViews = Object.entries({ ...encryption, ...troubles }).filter(
  (entry): entry is [string, EncryptionView] => typeof entry[1] === 'object' && 'mode' in entry[1],
);

/** Every page with every text exchanged. */
function pagesWith(text: string): Readonly<Record<string, string>> {
  const told = { ...filled(frame, text), flash: { tone: 'bad', text } } as const;
  const overviews = [mail.overview, mail.overviewBroken, mail.overviewCalm].map((view) => filled(view, text));
  const quarantines = [mail.quarantine, mail.quarantineChosen].map((view) => filled(view, text));
  return {
    ...Object.fromEntries(overviews.map((view, index) => [`overview ${index}`, overviewPage(told, view)])),
    ...Object.fromEntries(quarantines.map((view, index) => [`quarantine ${index}`, quarantinePage(told, view)])),
    ...Object.fromEntries(
      encryptionViews.map(([name, view]) => [name, encryptionPage(told, filled(view, text), null)]),
    ),
    mailbox: mailboxPage(told, filled(mail.unconfirmedMailbox, text), text),
    'mailbox doubtful': mailboxPage(told, filled(mail.doubtfulMailbox, text), text, {
      error: text,
      probe: filled(mail.untrustedProbe, text),
    }),
    'mailbox tested': mailboxPage(told, filled(mail.confirmedMailbox, text), text, {
      error: null,
      probe: filled(mail.passedProbe, text),
    }),
    'mailbox settings': mailboxSettingsPage(told, filled(mail.doubtfulMailbox, text), null),
    'mailbox add': addMailboxPage(told, {
      ...{ texts: filled(mail.unconfirmedMailbox.texts, text), error: text, isProbed: false },
      ...{ probe: filled(mail.untrustedProbe, text), providers: [{ name: text, label: text }] },
    }),
    mailboxes: mailboxesPage(told, filled(mail.overview, text)),
    ...Object.fromEntries(
      Object.entries(mail.signIns).map(([name, signIn]) => [
        `mailbox ${name}`,
        mailboxPage(told, filled({ ...mail.confirmedMailbox, signIn }, text), text),
      ]),
    ),
    connect: connectPage(told, { ...filled(mail.begunSignIn, text), url: '/admin/stands-for-the-provider' }),
    'sign-in': signInPage(
      { ...told, session: null },
      { error: text, wasSignedOut: true, hasNoAccount: true, name: text },
    ),
    message: messagePage(told, { title: text, text, hint: text, isKnown: true, isRepeatable: false }),
  };
}

const pagesByMode = encryptionViews.map(([, view]) => ({ mode: view.mode, page: encryptionPage(frame, view, null) }));

describe('any text in a view', () => {
  test('there is a view of every mode', () => {
    expect(new Set(encryptionViews.map(([, { mode }]) => mode))).toEqual(
      new Set(['off', 'working', 'on', 'disabling']),
    );
  });

  test.each(hostile)('stays text: %j', (text) => {
    // The same number of words, since each word of a command is marked as one; and what keeps a name out of a command.
    const harmless = pagesWith(text.replace(/[^ \p{C}]/gu, 'w'));
    for (const [name, page] of Object.entries(pagesWith(text))) {
      const { tags } = readMarkup(page);
      expect(tags.length, name).toBeGreaterThan(5);
      // Exactly the tags and attributes that harmless texts lead to, where the texts decide on none.
      expect(shapeOf(page), name).toEqual(shapeOf(harmless[name] ?? ''));
      const addresses = tags.flatMap(({ attributes }) => attributes.get('href') ?? attributes.get('action') ?? []);
      expect(
        addresses.filter((address) => !/^(\/admin\/|#)/.test(address)),
        name,
      ).toEqual([]);
    }
  });

  test('is there, and is cut where it is endless', () => {
    const long = 'm'.repeat(20_000);
    const page = quarantinePage(frame, {
      ...mail.quarantine,
      messages: { ...mail.quarantine.messages, list: filled(mail.quarantine.messages.list, long) },
    });
    expect(readMarkup(pagesWith('a < b & "c"')['message'] ?? '').text).toContain('a &lt; b &amp; &quot;c&quot;');
    expect(page).toContain(`<bdi class="foreign">${'m'.repeat(300)}…</bdi>`);
  });

  test('is never cut where it is confirmed', () => {
    const server = `${'two@example.org'.padEnd(1024, '.')} at evil.test:2526 (no TLS)`;
    const folder = 'f'.repeat(1024);
    const page = mailboxPage(frame, { ...mail.unconfirmedMailbox, server, folder, target: folder }, '');
    expect(page).toContain('evil.test:2526 (no TLS)');
    expect(page.split(folder)).toHaveLength(3);
  });

  test('cannot turn a sender around', () => {
    expect(quarantinePage(frame, mail.quarantine)).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/u);
  });
});

describe.each(Object.entries(pages))('the page %s', (_, make) => {
  const { tags } = readMarkup(make());

  test('has no script and no style of its own', () => {
    const names = new Set(tags.map(({ name }) => name));
    expect(names.has('style')).toBe(false);
    const attributes = tags.flatMap(({ attributes: all }) => [...all.keys()]);
    expect(attributes.filter((name) => name === 'style' || name.startsWith('on'))).toEqual([]);
    const scripts = tags.filter(({ name }) => name === 'script');
    expect(scripts.map(({ attributes: all }) => all.get('src'))).toEqual(['/admin/assets/admin.js?v=test']);
    expect(make()).toMatch(/<script [^>]*><\/script>/);
  });

  test('sends each form that changes something by POST, with its CSRF token', () => {
    const forms = make().match(/<form [\s\S]*?<\/form>/g) ?? [];
    for (const form of forms) {
      // That of the redirect endpoint has no session: the state of the answer is its token.
      if (form.includes('data-callback')) expect(form).toContain('method="post" action=""');
      else if (form.includes('role="search"')) expect(form).toContain('method="get"');
      else {
        expect(form).toMatch(/^<form [^>]*method="post" action="\/admin\//);
        expect(form.match(new RegExp(`name="csrf" value="${frame.csrf}"`, 'g'))).toHaveLength(1);
      }
    }
  });

  test('gives every id once, and every name that is referred to', () => {
    const ids = tags.flatMap(({ attributes }) => attributes.get('id') ?? []);
    expect(ids.length).toBe(new Set(ids).size);
    const asked = tags.flatMap(({ attributes }) => attributes.get('for') ?? attributes.get('aria-describedby') ?? []);
    expect(asked.filter((id) => !ids.includes(id))).toEqual([]);
  });
});

describe('what a page asks for', () => {
  test('both boxes and the button, in unmistakable words', () => {
    const page = encryptionPage(frame, encryption.off, null);
    const boxes = readMarkup(page).tags.filter(({ attributes }) => attributes.get('type') === 'checkbox');
    expect(
      boxes.map(({ attributes }) => [attributes.get('name'), attributes.get('value'), attributes.has('required')]),
    ).toEqual([
      ['accept_key_loss', 'yes', true],
      ['backup_prepared', 'yes', true],
    ]);
    expect(page).toContain('Generate key file &amp; enable encryption</button>');
    expect(page).toContain('<code>data/encryption-key.bin</code> is lost');
    expect(page).not.toContain(' checked');
  });

  test('an unfinished operation whose last attempt failed shows why, and not that it runs', () => {
    const html = encryptionPage(frame, { ...encryption.unfinished, mode: 'working' }, null);
    expect(html).toContain('Live workers lack the key');
    expect(html).not.toContain('no worker runs it now');
    expect(html).not.toContain('It runs in the background');
  });

  test('a box that was ticked when the form was refused stays ticked', () => {
    const page = encryptionPage(frame, encryption.off, { keyLoss: true, backup: false });
    expect(page).toMatch(/name="accept_key_loss" value="yes" required checked/);
    expect(page).not.toMatch(/name="backup_prepared" value="yes" required checked/);
    expect(page).toContain('role="alert">Nothing was changed: tick the other box too.');
  });

  test('each form of a message has the position in the list', () => {
    const { messages, query } = mail.quarantineChosen;
    const view = { ...mail.quarantineChosen, messages: { ...messages, page: 3, pages: 4 } };
    const forms = quarantinePage(frame, view).match(/<form [^>]*resolve.*?<\/form>/gs) ?? [];
    expect(forms.length).toBeGreaterThan(2);
    for (const form of forms) {
      expect(form).toContain('name="page" value="3"');
      expect(form).toContain(`name="reason" value="${query.reason}"`);
    }
    expect(quarantinePage(frame, mail.quarantine)).not.toContain('name="reason"');
  });

  test('the copy of the key file has no name, so that no browser sends it', () => {
    const page = encryptionPage(frame, encryption.on, null);
    const [field] = readMarkup(page).tags.filter(({ attributes }) => attributes.get('type') === 'file');
    expect(field?.attributes.has('name')).toBe(false);
    expect(page).not.toContain('enctype');
  });

  test('an automatic refresh is marked as one', () => {
    expect(encryptionPage(frame, encryption.working, null)).toContain(
      '<noscript><meta http-equiv="refresh" content="2;url=/admin/server/encryption?refresh=1"></noscript>',
    );
    expect(mailboxesPage(frame, mail.overviewBroken)).toContain('search=nothing+like+it&amp;page=1&amp;refresh=1"');
    expect(encryptionPage(frame, encryption.on, null)).toContain('content="60;url=/admin/server/encryption?refresh=1"');
  });

  test('every mode refreshes automatically and shows its time, but for a form that is being filled in', () => {
    for (const { mode, page } of pagesByMode) {
      expect(page, mode).toContain('<p class="asof">As of <span class="nowrap"><time datetime="2026-03-17T14:32:08Z" ');
      expect(page, mode).toContain(` data-refresh="${mode === 'working' ? 2 : 10}"`);
    }
    expect(encryptionPage(frame, encryption.off, null)).not.toContain('http-equiv="refresh"');
    const refused = encryptionPage(frame, encryption.off, { keyLoss: true, backup: false });
    expect(refused).not.toMatch(/data-refresh|refreshes automatically/);
  });

  test('without a session there is no navigation', () => {
    const view = { title: 'Not found', text: 'No.', hint: null, isRepeatable: false };
    const page = messagePage(strangerFrame, { ...view, isKnown: false });
    expect(page).toContain('Go to the sign-in');
    expect(page).not.toContain('/admin/overview');
    expect(messagePage(strangerFrame, { ...view, isKnown: true })).toContain(
      '<a href="/admin/overview">Back to the overview</a>',
    );
  });
});

describe('what a page says', () => {
  const textOf = (view: EncryptionView): string => readMarkup(encryptionPage(frame, view, null)).text;

  test('of a key that is in no file: nothing of one place, and no fingerprint as of the file', () => {
    for (const view of [troubles.missing, troubles.orphaned]) {
      const text = textOf({ ...view, keyFile: { ...view.keyFile, keyIds: [encryption.keyOne] } });
      expect(text).not.toMatch(/is stored only once|Back up the key file now/);
      expect(text).toMatch(/Keys in itthe file is not there/);
    }
    expect(textOf(troubles.orphaned)).toContain(`in the memory of this daemon: ${encryption.keyOne}`);
    expect(textOf(encryption.on)).toContain('is stored only once');
  });

  test('of workers: no key is needed while it is off, and is on its way while something runs', () => {
    expect(textOf(encryption.starting)).toContain('no key needed yet—');
    expect(encryptionPage(frame, encryption.starting, null)).not.toContain('>has the key<');
    expect(textOf(encryption.rotating)).toContain('gets the key…');
    expect(textOf(encryption.rotating)).not.toContain('lacks the key');
    expect(textOf({ ...encryption.rotating, operation: null })).toContain('lacks the key');
  });

  test('of the copy: also how it is compared on the server', () => {
    expect(textOf(encryption.on)).toContain('Do not move an unprotected key');
    expect(textOf(encryption.on)).toContain('Or compare on the server');
    expect(textOf(encryption.disabling)).toContain('Backup of the key file');
    expect(textOf(encryption.disabling)).not.toContain('Rotate the key');
  });

  const proofPath = '/var/lib/ticketmaild/can-disable-encryption.txt';
  const again = `rm ${proofPath} &amp;&amp; touch ${proofPath}`;

  test.each([
    [encryption.disabling, false],
    [encryption.disablingRefused, true],
    [encryption.disablingLink, true],
  ])('of a proof file that is in the way: what takes its place', (view, isAgain) => {
    const page = encryptionPage(frame, view, null);
    const [command = ''] = /<pre>.*?<\/pre>/.exec(page) ?? [];
    expect(command.replace(/<[^>]*>/g, '')).toBe(isAgain ? again : `sudo -u ticketmaild touch ${proofPath}`);
  });

  test('of the copy: what it cannot know, before and after it was compared', () => {
    for (const view of [encryption.on, encryption.onVerified])
      expect(readMarkup(encryptionPage(frame, view, null)).text).toContain('This page cannot see where');
    expect(encryptionPage(frame, encryption.onVerified, null)).not.toContain('>Verified<');
  });

  test('of a path with a blank in it: a command that a shell takes', () => {
    const { disablingRefused: view } = encryption;
    const path = "/var/lib/it's here/can";
    const text = textOf({ ...view, proofRequest: view.proofRequest && { ...view.proofRequest, path } });
    const word = '&#39;/var/lib/it&#39;\\&#39;&#39;s here/can&#39;';
    expect(text).toContain(`rm ${word} &amp;&amp; touch ${word}`);
  });

  test('which of the three is wrong with the proof file', () => {
    const checks = encryption.disablingRefused.proofRequest?.checks ?? [];
    expect(proofFaults(checks)).toEqual(['is of the wrong user', 'is too old: it must be newer than the request']);
    expect(proofFaults(encryption.disablingLink.proofRequest?.checks ?? [])).toEqual(['is a link, not a file']);
    const absent = { name: 'exists', ok: false } as const;
    expect(proofFaults([{ ...absent, fault: 'missing', why: '/x does not exist' }])).toEqual(['is missing']);
    expect(proofFaults([{ ...absent, fault: 'not_a_file', why: '/x is a folder' }])).toEqual(['is no file']);
    const open = { name: 'owner', ok: false, fault: 'writable_by_others', why: '/x has mode 0666' } as const;
    expect(proofFaults([open])).toEqual(['can be changed by others']);
    expect(proofFaults(checks.map((check) => ({ ...check, ok: true })))).toEqual([]);
  });

  test('of a command to run first: a sentence, and the line alone', () => {
    const page = encryptionPage(frame, encryption.offMariadb, null);
    expect(page).toContain('<p>With MariaDB, let its administrator run this first:</p>');
    const [line = ''] = /<pre>.*?<\/pre>/.exec(page) ?? [];
    expect(line.replace(/<[^>]*>/g, '')).toBe('SET GLOBAL innodb_immediate_scrub_data_uncompressed = ON;');
  });

  test('of the key file in the acknowledgement: its name, and where it is', () => {
    expect(textOf(encryption.off)).toMatch(
      /data\/encryption-key\.bin is lost, all mailbox passwords are lost with it\. Here that file is \/var\/lib\/ticketmaild\/encryption-key\.bin\./,
    );
  });
});

test('what a browser loads first is small, with fifty mailboxes too', async () => {
  const { byPath } = await readAssets();
  // As every browser asks for it.
  const shared = [...byPath.values()].reduce((sum, { gzipped }) => sum + gzipped.length, 0);
  const largest = Math.max(...Object.values(pages).map((make) => Buffer.byteLength(make())));
  expect(mail.overview.mailboxes.list).toHaveLength(50);
  expect(shared + largest).toBeLessThan(60_000);
});
