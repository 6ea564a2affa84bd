/** Changes of the table `mailboxes`, but for passwords: settings, rows that go or come, and rows of a stranger. */
import type { SeededRandom } from '../../support/random.ts';
import { anyOf, type Kind, type Made } from '../kinds.ts';
import { emptyFolder, type Ground, type Reserved, type RowChange } from './change.ts';
import { isLogged, isReadSince, isUnlisted, mailboxIsBad } from './signs.ts';

type Setting = Readonly<Record<string, string>>;

const invalidSettings: readonly Setting[] = [
  ...[`''`, `'  '`, `CONCAT('box', CHAR(27), '[31m')`].map((name) => ({ name })),
  ...[`''`, `CONCAT('mail', CHAR(0), '.test')`].map((host) => ({ host })),
  ...['0', '65536', '4294967295'].map((port) => ({ port })),
  ...[`''`, `'IMPLICIT'`, `'tls'`].map((tls_mode) => ({ tls_mode })),
  ...[`'abc'`, `REPEAT('g', 64)`].map((fingerprint) => ({ fingerprint })),
  ...[`''`, `REPEAT('ä', 2000)`, `CONCAT('a', CHAR(13, 10), 'b')`].map((username) => ({ username })),
  ...[`''`, `REPEAT('x', 5000)`, `CHAR(9)`].map((folder) => ({ folder })),
  ...[`''`, `'{"from":"al'`].map((since_kind) => ({ since_kind })),
  { since_kind: `'time'`, since_at: `'0000-00-00'` },
  ...[`''`, `'erase'`, `'move'`].map((on_success) => ({ on_success })),
  ...['0', '-1', '999', '86400001', '9007199254740993', '18446744073709551615'].map((poll_interval_ms) => ({
    poll_interval_ms,
  })),
  ...[`'oauth'`, `'kerberos'`].map((auth) => ({ auth })),
  ...[`''`, `'enabled'`].map((state) => ({ state })),
  { ca_pem: `REPEAT('x', 70000)` },
  { addresses: `REPEAT('a@example.test ', 2000)` },
];

const harmlessSettings: readonly Setting[] = [
  ...['1000', '1500', '60000'].map((poll_interval_ms) => ({ poll_interval_ms })),
  ...[`'{"a": ['`, `'other@example.test'`, `REPEAT(',', 4000)`].map((addresses) => ({ addresses })),
  ...[`'0000-00-00'`, `'9999-12-31 23:59:59.999'`].flatMap((time) =>
    ['created_at', 'since_at', 'changed_at', 'plaintext_since', 'plaintext_until'].map((column) => ({
      [column]: time,
    })),
  ),
  ...[`'x'`, `REPEAT('0', 255)`].map((settings_seal) => ({ settings_seal })),
  { grant_name: `'none'` },
  { on_success_folder: `'None'` },
  { since_kind: `'time'`, since_at: `'2020-01-01'` },
];

function strangeSettings({ stranger }: Ground): readonly Setting[] {
  const host = `'127.0.0.1'`;
  return [
    { host, port: String(stranger.tlsPort) },
    { host, port: String(stranger.tlsPort), ca_pem: 'NULL' },
    { host, port: String(stranger.port), tls_mode: `'none'`, allow_plaintext: '1' },
    { host, port: String(stranger.port), tls_mode: `'starttls'` },
    { username: `'root'` },
    { username: `(SELECT * FROM (SELECT MIN(username) FROM mailboxes) AS other)` },
    { fingerprint: `REPEAT('a', 64)` },
    { ca_pem: `LEFT(ca_pem, 100)` },
    { ca_pem: 'NULL' },
    { allow_plaintext: '1' },
    { port: 'port + 1' },
  ];
}

const missingFolders = ['No such folder', 'INBOX/../x', 'IN%', '*', 'INBOX"', '../../etc', 'Fächer 😀'];

function textOf(setting: Setting, { name }: Reserved): string {
  const pairs = Object.entries(setting).map(([column, value]) => `${column} = ${value}`);
  return `${pairs.join(', ')} of ${name}`.slice(0, 120);
}

/** Changes columns of one row; undone column by column, or by the row as it was. */
async function setColumns(
  ground: Ground,
  random: SeededRandom,
  mailbox: Reserved,
  setting: Setting,
  visible: Kind['visible'],
): Promise<Made> {
  const columns = Object.keys(setting);
  const copy = await ground.copy('mailboxes', `id = '${mailbox.id}'`);
  const pairs = Object.entries(setting).map(([column, value]) => `${column} = ${value}`);
  await ground.sql(`UPDATE mailboxes SET ${pairs.join(', ')} WHERE id = '${mailbox.id}'`);
  const isWhole = random.chance(0.3);
  return {
    ...{ visible, what: textOf(setting, mailbox) },
    undo: async () => {
      const back = columns.map((column) => `now.${column} = former.${column}`).join(', ');
      await ground.sql(
        isWhole
          ? `REPLACE INTO mailboxes SELECT * FROM ${copy}`
          : `UPDATE mailboxes AS now JOIN ${copy} AS former USING (id) SET ${back}`,
      );
      ground.giveBack(mailbox);
    },
  };
}

/** One of these settings; how it shows depends on mailbox and setting. */
function settings(
  name: string,
  visibleBy: string,
  choices: readonly Setting[] | ((ground: Ground) => readonly Setting[]),
  visible: (ground: Ground, mailbox: Reserved, setting: Setting) => Kind['visible'],
): RowChange {
  return {
    ...{ name, layer: 'settings', seconds: [6, 12], visibleBy },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const setting = random.pick(typeof choices === 'function' ? choices(ground) : choices);
      return await setColumns(ground, random, mailbox, setting, visible(ground, mailbox, setting));
    },
  };
}

const isOtherFolder = (ground: Ground, { name }: Reserved) => isLogged(ground, 'folder.reset', name);

export const settingChanges: readonly RowChange[] = [
  settings('harmless settings', 'the mailbox is read as before', harmlessSettings, (_ground, { name }) =>
    isReadSince(name),
  ),
  settings('invalid settings', 'mailbox_invalid with the column', invalidSettings, (_ground, _mailbox, setting) => {
    const column = Object.keys(setting).at(-1);
    return mailboxIsBad(
      null,
      new RegExp(`^mailbox_invalid: .*(${column}|on_success_folder|grant_name|since_at) `, 's'),
    );
  }),
  settings('another server or user', 'password_binding_mismatch', strangeSettings, (_ground, { name }) =>
    mailboxIsBad(name, /^password_binding_mismatch/),
  ),
  settings('another folder', 'folder.reset in the log', [{ folder: `'${emptyFolder}'` }], isOtherFolder),
  settings(
    'missing folder',
    'the mailbox is failing',
    missingFolders.map((folder) => ({ folder: `'${folder}'` })),
    (_ground, { name }) => mailboxIsBad(name, /folder/i),
  ),
  settings(
    'delete or move',
    'post_action_unconfirmed',
    [{ on_success: `'delete'` }, { on_success: `'move'`, on_success_folder: `'${emptyFolder}'` }],
    (_ground, { name }) => mailboxIsBad(name, /^post_action_unconfirmed/),
  ),
  {
    ...{ name: 'renamed', layer: 'settings', seconds: [6, 12], visibleBy: 'read under the new name' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const name = random.pick([`${mailbox.name} é 😀`, `$(${mailbox.name})`, `${mailbox.name}'; --`]);
      const hex = `_utf8mb4 x'${Buffer.from(name).toString('hex')}'`;
      return await setColumns(ground, random, mailbox, { name: hex }, isReadSince(name));
    },
  },
];

async function insertRow(ground: Ground, values: Setting): Promise<void> {
  await ground.sql(
    `INSERT INTO mailboxes (${Object.keys(values).join(', ')}) VALUES (${Object.values(values).join(', ')})`,
  );
}

export const rowChanges: readonly RowChange[] = [
  {
    ...{ name: 'row paused', layer: 'rows', seconds: [4, 10], visibleBy: 'one more mailbox is paused' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const { name } = mailbox;
      const state = random.pick(['paused', 'removing']);
      const made = await setColumns(ground, random, mailbox, { state: `'${state}'` }, isUnlisted(name));
      const resume = async (): Promise<void> => {
        await ground.succeed(['mailbox', 'resume', name]);
        ground.giveBack(mailbox);
      };
      return { ...made, undo: state === 'paused' && random.chance(0.5) ? resume : made.undo };
    },
  },
  {
    ...{ name: 'row deleted', layer: 'rows', seconds: [4, 12], visibleBy: 'the mailbox is not listed' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const copy = await ground.copy('mailboxes', `id = '${mailbox.id}'`);
      await ground.sql(`DELETE FROM mailboxes WHERE id = '${mailbox.id}'`);
      return {
        ...{ visible: isUnlisted(mailbox.name), what: `row of ${mailbox.name} deleted` },
        undo: async () => {
          await ground.sql(`INSERT INTO mailboxes SELECT * FROM ${copy}`);
          ground.giveBack(mailbox);
        },
      };
    },
  },
  {
    ...{ name: 'row copied', layer: 'rows', seconds: [6, 12], visibleBy: 'the copy is failing' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const copy = await ground.copy('mailboxes', `id = '${mailbox.id}'`);
      const name = `copy of ${mailbox.name}`;
      await ground.sql(`UPDATE ${copy} SET id = UUID(), name = '${name}'; INSERT INTO mailboxes SELECT * FROM ${copy}`);
      return {
        ...{ visible: mailboxIsBad(name, /^password_binding_mismatch/), what: name },
        undo: async () => {
          await ground.sql(`DELETE FROM mailboxes WHERE name = '${name}'`);
          ground.giveBack(mailbox);
        },
      };
    },
  },
  {
    ...{ name: 'row under another id', layer: 'rows', seconds: [6, 12], visibleBy: 'the mailbox is failing' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const { name, id } = mailbox;
      await ground.sql(`UPDATE mailboxes SET id = UUID() WHERE id = '${id}'`);
      return {
        ...{ visible: mailboxIsBad(name, /^password_binding_mismatch/), what: `another id of ${name}` },
        undo: async () => {
          await ground.sql(`UPDATE mailboxes SET id = '${id}' WHERE name = '${name}'`);
          ground.giveBack(mailbox);
        },
      };
    },
  },
  {
    ...{
      name: 'row of a stranger',
      layer: 'rows',
      seconds: [8, 14],
      visibleBy: 'the stranger gets their own password',
    },
    make: async (ground, random) => {
      const { stranger, scene } = ground;
      const before = stranger.logins();
      const name = `stranger-${before}-${random.between(0, 999)}`;
      const row = { name: `'${name}'`, host: `'127.0.0.1'`, username: `'me'`, password: `'own guess'` };
      const isTls = random.chance(0.5);
      const tls = { port: String(stranger.tlsPort), ca_pem: `'${scene.dovecot.caPem}'` };
      const plain = { port: String(stranger.port), tls_mode: `'none'`, allow_plaintext: '1' };
      await insertRow(ground, { ...row, ...(isTls ? tls : plain) });
      const isRefused = mailboxIsBad(name, /./);
      return {
        what: `${name}, ${isTls ? 'TLS' : 'plain text'}`,
        visible: (seen) => {
          const sign = anyOf(isRefused(seen));
          return stranger.logins() > before ? sign : false;
        },
        undo: async () => void (await ground.sql(`DELETE FROM mailboxes WHERE name = '${name}'`)),
      };
    },
  },
];
