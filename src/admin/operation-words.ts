/**
 * The sentences that may be shown of what is kept about an operation in the database.
 *
 * Whoever can write the database can write there what they like, and the page would show it as words of ours. So only a
 * sentence of this list is shown, with nothing in it but key ids, counts, names of workers, and the path of the key file of
 * this very daemon; every other one counts as not there.
 */

/** The sentence to show; null: it is none of ours. */
export type OwnWords = (text: string) => string | null;

/** In the braces: what `values` has. */
const sentences: readonly string[] = [
  'A key file with the new key {key} is at {path}.',
  'Every live worker holds the key {key}; passwords are sealed with it from now on.',
  'Encryption is on: no password is readable in the table any more.',
  'The table of mailboxes is written anew, so that its file holds nothing of what was readable.',
  'The new key {key} is in the key file at {path}, beside the key in use.',
  'Resealing under the key {key}.',
  'The key {key} is in use; the former key {key} is dropped from the key file next.',
  'Dropped from the key file, as nothing needs it any more: {keys}.',
  'New passwords are stored readable from now on.',
  'Encryption is off.',
  'The key file is set aside, for backups of the database that still need it: {aside}.',
  '{count} sealed passwords are left, so the key file stays: switch on and off again to open them.',
  'Sealed: {count}.',
  'Resealed: {count}. The former key {key} is {still} in the key file.',
  'Made readable: {count}.',
  'Encryption was off already.',
  'The daemon that ran this ended; another one goes on with it.',
  'The daemon that ran this ended just before the end.',
  'Some passwords cannot be sealed, and are left as they are.',
  // Why one failed.
  '1 live worker does not hold the key {key}: {workers}',
  '{count} live workers do not hold the key {key}: {workers}',
  'another operation on the switch is under way in {worker}',
  'the claim on the switch was lost to another operation',
  'the daemon that ran it ended, and the switch is {state}: it is not gone on with by itself',
  'the operation was stopped on request before it was done',
  'the switch stays at enabling: some passwords cannot be sealed',
  'the switch stays at disabling: {count} of the passwords cannot be opened',
  '{doing} is not possible while the switch is {state}',
  'there is no key file',
  'there is no key file at {path}',
  'the key file does not hold key {key}',
  'the key file holds {count} keys, and there is no room for one more',
];

/** Sentences that end in what others wrote, and how they are shown without that. */
const openEnded: readonly (readonly [start: string, shown: string])[] = [
  ['Left as they are: ', 'Some passwords cannot be sealed, and are left as they are.'],
  [
    'the switch stays at enabling: some passwords cannot be sealed: ',
    'the switch stays at enabling: some passwords cannot be sealed',
  ],
];

const [key, worker] = ['[0-9a-f]{16}', String.raw`[\w.-]{1,64} \(pid \d{1,10}\)`];

const values: Readonly<Record<string, string>> = {
  key,
  keys: `${key}(?:, ${key}){0,7}`,
  count: String.raw`\d{1,12}`,
  still: 'still|no longer',
  state: 'off|enabling|on|rotating|disabling',
  doing: 'switching on|switching off|a rotation|resealing',
  // As `Workers.me`: host, boot, PID name space, PID, start.
  worker: String.raw`[\w.-]{1,64}(?:/[\w.-]{1,32}){4}`,
  workers: String.raw`${worker}(?:, ${worker}){0,19}(?:, and \d{1,6} more)?`,
};

/** `keyFilePath`: of this daemon. */
export function ownWords(keyFilePath: string): OwnWords {
  const path = RegExp.escape(keyFilePath);
  const all = { ...values, path, aside: `${path}${asideEnding}` };
  const ours = new RegExp(`^(?:${sentences.map((sentence) => pattern(sentence, all)).join('|')})$`);
  return (text) => {
    const [, shown] = openEnded.find(([start]) => text.startsWith(start)) ?? [];
    return shown ?? (ours.test(text) ? text : null);
  };
}

function pattern(sentence: string, all: Readonly<Record<string, string>>): string {
  const parts = sentence.split(/[{}]/);
  return parts.map((part, index) => (index % 2 === 0 ? RegExp.escape(part) : `(?:${all[part]})`)).join('');
}

/** Of a key file that was set aside when encryption was switched off. */
const asideEnding = String.raw`\.disabled-\d{8}T\d{6}Z(?:-\d{1,4})?`;

/** True for where the key file of this daemon may have been set aside. */
export function isAside(path: string, keyFilePath: string): boolean {
  return path.startsWith(keyFilePath) && new RegExp(`^${asideEnding}$`).test(path.slice(keyFilePath.length));
}

/** `HOST (pid N)`. */
export function isWorkerName(text: string): boolean {
  return new RegExp(`^${worker}$`).test(text);
}
