/** Changes of the password columns of `mailboxes`; most are undone by `mailbox set-password`, as the hint says. */
import type { Kind } from '../kinds.ts';
import type { Ground, Reserved, RowChange } from './change.ts';
import { isLogged, isReadSince, mailboxIsBad } from './signs.ts';

type Choice = readonly [what: string, set: string];

const damaged: readonly Choice[] = [
  ['half a sealed password', 'password = LEFT(password, LENGTH(password) DIV 2)'],
  ['random bytes as sealed', 'password = RANDOM_BYTES(300)'],
  ['nothing as sealed', `password = ''`],
  ['4096 letters as sealed', `password = REPEAT('x', 4096)`],
  ['JSON as sealed', `password = '{"protected":'`],
  ['one letter of a sealed password', `password = INSERT(password, LENGTH(password) - 9, 1, '-')`],
  ['nothing as plain', `password = '', password_form = 'plain', password_key_id = NULL`],
  ['NUL as plain', `password = x'6100', password_form = 'plain', password_key_id = NULL`],
  ['1025 bytes as plain', `password = REPEAT('x', 1025), password_form = 'plain', password_key_id = NULL`],
];

const refused: readonly Choice[] = [
  ['a wrong plain password', `password = 'wrong', password_form = 'plain', password_key_id = NULL`],
  ['a plain password of invalid UTF-8', `password = x'fffe30', password_form = 'plain', password_key_id = NULL`],
  ['the sealed bytes as plain', `password_form = 'plain', password_key_id = NULL`],
];

const misnamed: readonly Choice[] = [
  ['another key id', `password_key_id = REPEAT('f', 16)`],
  ['an odd key id', `password_key_id = 'x'`],
  ['no form', `password_form = ''`],
  ['another form', `password_form = 'SEALED'`],
];

/** One of these in one row, undone by the command or by the row as it was. */
function passwords(
  name: string,
  visibleBy: string,
  choices: readonly Choice[],
  mend: 'command' | 'row',
  visible: (ground: Ground, mailbox: Reserved) => Kind['visible'],
): RowChange {
  return {
    ...{ name, layer: 'password', seconds: [7, 13], visibleBy },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const [what, set] = random.pick(choices);
      const copy = await ground.copy('mailboxes', `id = '${mailbox.id}'`);
      const sight = visible(ground, mailbox);
      await ground.sql(`UPDATE mailboxes SET ${set} WHERE id = '${mailbox.id}'`);
      return {
        ...{ visible: sight, what: `${what} of ${mailbox.name}` },
        undo: async () => {
          if (mend === 'command') await setPassword(ground, mailbox);
          else
            await ground.sql(`UPDATE mailboxes AS now JOIN ${copy} AS former USING (id) SET now.password = former.password,
              now.password_form = former.password_form, now.password_key_id = former.password_key_id`);
          ground.giveBack(mailbox);
        },
      };
    },
  };
}

/** The rows came by SQL: nothing vouches for the server but the operator. */
async function setPassword(ground: Ground, { name }: Reserved): Promise<void> {
  const args = ['mailbox', 'set-password', name, '--password-stdin', '--accept-connection'];
  await ground.succeed(args, ground.scene.mailPassword);
}

const isBad = (reason: RegExp) => (_ground: Ground, mailbox: Reserved) => mailboxIsBad(mailbox.name, reason);

export const passwordChanges: readonly RowChange[] = [
  passwords(
    'password of another mailbox',
    'password_binding_mismatch',
    [
      [
        'the sealed password of another mailbox',
        `password = (SELECT password FROM (SELECT password FROM mailboxes ORDER BY RAND() LIMIT 1) AS other)`,
      ],
    ],
    'command',
    isBad(/^password_(binding_mismatch|damaged)/),
  ),
  passwords('damaged password', 'password_damaged', damaged, 'command', isBad(/^password_damaged/)),
  passwords('refused password', 'login_refused', refused, 'command', isBad(/^login_refused/)),
  passwords('password under another name', 'waiting, or mailbox_invalid', misnamed, 'row', (_ground, { name }) =>
    mailboxIsBad(name, /^(waiting|mailbox_invalid|key_unknown)/),
  ),
  {
    ...{ name: 'right password in plain text', layer: 'password', seconds: [4, 8], visibleBy: 'passwords.sealed' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const sight = isLogged(ground, 'passwords.sealed', null);
      await ground.sql(plainPassword(ground, mailbox));
      return {
        ...{ visible: sight, what: `the right plain password of ${mailbox.name}` },
        undo: async () => ground.giveBack(mailbox),
      };
    },
  },
  {
    ...{ name: 'former password', layer: 'password', seconds: [6, 10], visibleBy: 'the mailbox is read as before' },
    make: async (ground, random) => {
      const mailbox = await ground.reserve(random);
      const copy = await ground.copy('mailboxes', `id = '${mailbox.id}'`);
      await setPassword(ground, mailbox);
      const columns = ['password', 'settings_seal'].map((column) => `now.${column} = former.${column}`).join(', ');
      await ground.sql(`UPDATE mailboxes AS now JOIN ${copy} AS former USING (id) SET ${columns}`);
      return {
        ...{ visible: isReadSince(mailbox.name), what: `a former sealed password of ${mailbox.name}` },
        undo: async () => ground.giveBack(mailbox),
      };
    },
  },
];

/** As a helpdesk writes it. */
export function plainPassword({ scene }: Ground, { id }: Reserved): string {
  const hex = Buffer.from(scene.mailPassword).toString('hex');
  return `UPDATE mailboxes SET password = x'${hex}', password_form = 'plain', password_key_id = NULL WHERE id = '${id}'`;
}
