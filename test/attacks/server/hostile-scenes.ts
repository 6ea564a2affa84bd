/**
 * Hostile scenes of an IMAP server, each a script: silence, floods, ranges, long lines, lies about numbers, sizes,
 * dates and folders, and ends of all kinds.
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { Script, Talk } from '../../adapters/imap/scripted-server.ts';

/** The script is that of one server; `play` is called where the scene shows what it is about. */
export type HostileScene = {
  readonly name: string;
  readonly script: (play: () => void) => Script;
  /** One of its kind, in every run. */
  readonly isLean?: true;
};

const all = '1:4294967295';
const fill = (text: string, bytes: number): string => text.repeat(Math.floor(bytes / text.length));
const date = 'INTERNALDATE "24-Nov-2026 10:00:00 +0000"';
const upTo = (last: number): readonly number[] => Array.from({ length: last }, (_, at) => at + 1);

/** As fast as it is taken, until the other end closes. */
function pour(socket: Duplex, text: string): void {
  const chunk = text.repeat(Math.ceil(50_000 / text.length));
  const go = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', go);
  go();
}

function select({ say }: Talk, exists: number, uidNext: number, uidValidity = 7): void {
  say(`* ${exists} EXISTS`, `* OK [UIDVALIDITY ${uidValidity}] x`, `* OK [UIDNEXT ${uidNext}] x`);
}

function uidsIn(rest: string): readonly number[] {
  const parts = (rest.split(' ', 1)[0] ?? '').split(',').map((part) => part.split(':').map(Number));
  return parts.flatMap(([from = 0, to = from]) => upTo(Math.min(to - from + 1, 1000)).map((at) => from + at - 1));
}

/** At `state`, does `act` instead of the usual answer, or before it. */
const at =
  (state: string, act: (talk: Talk, tag: string) => 'answered' | 'as usual', exists = 2) =>
  (play: () => void): Script =>
  (command, _rest, tag, talk) => {
    if (command === state) {
      play();
      if (act(talk, tag) === 'answered') return true;
    }
    if (command === 'SELECT') select(talk, exists, Math.min(exists + 1, 4_294_967_295));
    else if (command === 'UID SEARCH') talk.say('* SEARCH 1 2');
    else return false;
    talk.say(`${tag} OK`);
    return true;
  };

const states = ['CAPABILITY', 'AUTHENTICATE', 'SELECT', 'UID SEARCH', 'UID FETCH'] as const;

const floods: readonly HostileScene[] = states.flatMap((state) =>
  ['* OK still here\r\n', '* 1 FETCH (FLAGS (\\Seen))\r\n', 'no line at all '].map((text, index) => ({
    name: `pours ${JSON.stringify(text)} at ${state}`,
    script: at(state, ({ socket }) => {
      pour(socket, text);
      return 'answered';
    }),
    ...(state === 'UID SEARCH' && index > 0 ? { isLean: true as const } : {}),
  })),
);

const ranges: readonly HostileScene[] = states.slice(2).map((state) => ({
  name: `names 2^32 messages at ${state}`,
  script: at(
    state,
    ({ say }, tag) => {
      for (const line of [
        `* VANISHED ${all}`,
        `* VANISHED (EARLIER) ${all}`,
        `* ESEARCH (TAG "${tag}") UID ALL ${all}`,
        `* OK [COPYUID 9 ${all} ${all}] x`,
      ])
        say(...Array.from({ length: 100 }, () => line));
      return 'as usual';
    },
    4_000_000_000,
  ),
  ...(state === 'UID SEARCH' ? { isLean: true as const } : {}),
}));

const lines: readonly (readonly [string, (bytes: number) => string])[] = [
  ['labels', (bytes) => `* 1 FETCH (UID 1 X-GM-LABELS (${fill('"&AOQ-" ', bytes)}))`],
  ['nested lists', (bytes) => `* 1 FETCH ${fill('(', bytes / 2)}${fill(')', bytes / 2)}`],
  ['capabilities', (bytes) => `* CAPABILITY ${fill('A=B ', bytes)}X`],
  ['an envelope', (bytes) => `* 1 FETCH (UID 1 ENVELOPE ("x" "${fill('=?utf-8?q?=41?= ', bytes)}"))`],
  ['digits', (bytes) => `* SEARCH ${fill('1', bytes)}`],
  ['falling numbers', (bytes) => `* SEARCH ${fill('9 8 7 ', bytes)}`],
];

const longLines: readonly HostileScene[] = lines.flatMap(([what, line]) =>
  [60_000, 8_000_000].map((bytes) => ({
    name: `${bytes} bytes of ${what}`,
    script: at('UID SEARCH', ({ socket }) => {
      socket.write(`${line(bytes)}\r\n`.repeat(2));
      return 'as usual';
    }),
    ...(what === 'labels' || (what === 'falling numbers' && bytes > 60_000) ? { isLean: true as const } : {}),
  })),
);

const million = 1_000_000;

const listings: readonly HostileScene[] = [
  {
    name: 'lists two million messages and knows none of them',
    isLean: true,
    script: (play) => (command, rest, tag, talk) => {
      if (command === 'SELECT') select(talk, 2 * million, 2 * million + 1);
      else if (command === 'FETCH') for (const one of uidsIn(rest)) talk.say(`* ${one} FETCH (UID ${one})`);
      else if (command === 'UID SEARCH') {
        play();
        const [, from = '1', to = '*'] = /UID (\d+):(\d+|\*)/.exec(rest) ?? [];
        const last = to === '*' ? 2 * million : Number(to);
        const uids = Array.from({ length: Math.max(0, last - Number(from) + 1) }, (_, one) => Number(from) + one);
        talk.socket.write(`* SEARCH ${uids.join(' ')}\r\n`);
      } else return false;
      talk.say(`${tag} OK`);
      return true;
    },
  },
  {
    name: 'lists a million messages in falling order, in one line',
    script: at(
      'UID SEARCH',
      ({ socket, say }, tag) => {
        socket.write(`* SEARCH ${upTo(million).toReversed().join(' ')}\r\n`);
        say(`${tag} OK`);
        return 'answered';
      },
      million,
    ),
  },
];

/** A folder of one message with a given answer to the fetch of its source. */
const sending =
  (size: number, answer: (talk: Talk) => void) =>
  (play: () => void): Script =>
  (command, rest, tag, talk) => {
    if (command === 'SELECT') select(talk, 1, 2);
    else if (command === 'UID SEARCH') talk.say('* SEARCH 1');
    else if (command === 'UID FETCH' && !rest.includes('BODY'))
      talk.say(`* 1 FETCH (UID 1 RFC822.SIZE ${size} ${date})`);
    else if (command === 'UID FETCH') {
      play();
      answer(talk);
    } else return false;
    talk.say(`${tag} OK`);
    return true;
  };

const noise = (bytes: number): string => randomBytes(bytes).toString('latin1');

const attachmentHead =
  'Subject: large\r\nContent-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: binary\r\n\r\n';

const sizes: readonly HostileScene[] = [
  {
    name: 'announces one byte and sends 20 MB',
    isLean: true,
    script: sending(1, ({ socket }) => {
      const body = Buffer.from(`${attachmentHead}${noise(20 * million)}`, 'latin1');
      socket.write(`* 1 FETCH (UID 1 BODY[] {${body.length}}\r\n`);
      socket.write(body);
      socket.write(')\r\n');
    }),
  },
  {
    name: 'announces a literal of 4 GB',
    isLean: true,
    script: sending(100, ({ socket }) => {
      socket.write('* 1 FETCH (UID 1 BODY[] {4294967295}\r\n');
      pour(socket, 'x');
    }),
  },
  {
    name: 'ends within a literal',
    script: sending(100, ({ socket }) => {
      socket.write('* 1 FETCH (UID 1 BODY[] {100}\r\nSubject: x');
      socket.end();
    }),
  },
  { name: 'has a message without content', script: sending(100, ({ say }) => say('* 1 FETCH (UID 1 BODY[] NIL)')) },
];

const mail = (id: string) => `From: e@evil.test\r\nMessage-ID: <${id}@evil.test>\r\nSubject: ${id}\r\n\r\nx\r\n`;

type FolderShown = {
  readonly uids: readonly number[];
  readonly uidNext: number;
  readonly uidValidity: number;
  readonly date?: string;
};

function answerFetch({ say }: Talk, rest: string, { uids, uidValidity, date: given = date }: FolderShown): void {
  for (const uid of uidsIn(rest).filter((one) => uids.includes(one))) {
    const text = mail(`${uidValidity}-${uid}`);
    const place = `RFC822.SIZE ${text.length} ${given}`;
    say(`* 1 FETCH (UID ${uid} ${rest.includes('BODY') ? `BODY[] {${text.length}}\r\n${text}` : place})`);
  }
}

/** A folder as it is shown in each poll, from 1. */
const folder =
  (shown: (poll: number) => FolderShown) =>
  (play: () => void): Script => {
    let poll = 0;
    return (command, rest, tag, talk) => {
      if (command === 'SELECT') {
        play();
        poll += 1;
      }
      const { uids, uidNext, uidValidity } = shown(poll);
      if (command === 'SELECT') select(talk, uids.length, uidNext, uidValidity);
      else if (command === 'UID SEARCH') talk.say(`* SEARCH ${uids.join(' ')}`);
      else if (command === 'UID FETCH') answerFetch(talk, rest, shown(poll));
      else return false;
      talk.say(`${tag} OK`);
      return true;
    };
  };

const lies: readonly HostileScene[] = [
  {
    name: 'shows a part of a folder without dates, then the rest',
    isLean: true,
    script: folder((poll) =>
      poll === 1
        ? { uids: [50], uidNext: 51, uidValidity: 9, date: 'INTERNALDATE NIL' }
        : { uids: upTo(52), uidNext: 53, uidValidity: 9 },
    ),
  },
  {
    name: 'has an absurd UID',
    isLean: true,
    script: folder(() => ({ uids: [1, 4_294_967_294], uidNext: 4_294_967_295, uidValidity: 9 })),
  },
  {
    name: 'has a UID above its UIDNEXT',
    script: folder(() => ({ uids: [1, 4_294_967_294], uidNext: 2, uidValidity: 10 })),
  },
  {
    name: 'has another UIDVALIDITY each time',
    isLean: true,
    script: folder((poll) => ({ uids: upTo(3), uidNext: 4, uidValidity: 100 + poll })),
  },
  { name: 'has no UIDVALIDITY', script: folder(() => ({ uids: [1], uidNext: 2, uidValidity: 0 })) },
];

const ends: readonly HostileScene[] = states.flatMap((state) => [
  {
    name: `says nothing at ${state}`,
    script: at(state, () => 'answered'),
    ...(state === 'UID SEARCH' ? { isLean: true as const } : {}),
  },
  {
    name: `drips at ${state}`,
    script: at(state, ({ say, socket }) => {
      const timer = setInterval(() => say('* OK wait'), 100);
      socket.on('close', () => clearInterval(timer));
      return 'answered';
    }),
    ...(state === 'UID SEARCH' ? { isLean: true as const } : {}),
  },
  {
    name: `closes at ${state}`,
    script: at(state, ({ socket }) => {
      socket.destroy();
      return 'answered';
    }),
  },
  {
    name: `refuses ${state} with escape sequences`,
    script: at(state, ({ say }, tag) => {
      say('* OK [ALERT] \x1b[2J\x1b]0;x\x07', `${tag} NO \x1b[2J\x1b]0;x\x07 gone`);
      return 'answered';
    }),
    ...(state === 'SELECT' ? { isLean: true as const } : {}),
  },
  {
    name: `sends noise at ${state}`,
    script: at(state, ({ socket }) => {
      socket.write(Buffer.from(noise(50_000), 'latin1'));
      return 'as usual';
    }),
  },
]);

export const hostileScenes: readonly HostileScene[] = [
  ...floods,
  ...ranges,
  ...longLines,
  ...listings,
  ...sizes,
  ...lies,
  ...ends,
];
