/**
 * A move of one mailbox from each server to each other: `mailbox set` with another host, after its messages were copied
 * by FETCH and APPEND. After every stop all messages are known again, and none is doubled.
 *
 * The stops are a Eulerian circuit of the pairs, so the tour ends where it began. Each stop is a user of its own; a
 * server whose users share their folders is emptied first.
 */
import type { ImapServer } from '../support/servers/imap/imap-server.ts';
import { openClient } from '../support/servers/imap/imap-server.ts';
import { tourUser, users } from './accounts.ts';
import { addMailbox, passwordInput } from './mailboxes.ts';
import { type MatrixMessage, matrixMessages } from './messages.ts';
import { expectExact, openProgram, type Program, poll } from './program.ts';

export type NamedServer = { readonly name: string; readonly server: ImapServer };

export type Move = { readonly from: string; readonly to: string; readonly problem: string | null };

export type Tour = {
  readonly moves: readonly Move[];
  /** Stored at the end. */
  readonly messages: number;
};

const messageCount = 80;

export async function runTour(
  servers: readonly NamedServer[],
  arriving: (move: Omit<Move, 'problem'>) => void,
): Promise<Tour> {
  const stops = circuit(servers.length).flatMap((index) => servers[index] ?? []);
  const [first] = stops;
  if (first === undefined) return { moves: [], messages: 0 };
  await using program = await openProgram();
  const sent = matrixMessages('tour', messageCount);
  await program.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  await fill(
    first.server,
    tourUser(0),
    sent.map(({ bytes }) => bytes),
  );
  await addMailbox({ server: first.server, program }, { name: 'tour', user: tourUser(0) });
  await poll(program, 'tour');
  await expectExact(program, sent);
  const moves: Move[] = [];
  // After a move that failed, the messages are still at the stop before.
  let held = 0;
  for (const [stop, to] of stops.entries()) {
    const from = stops[held];
    if (stop === 0 || from === undefined) continue;
    const move = { from: from.name, to: to.name };
    arriving(move);
    const step = { program, sent, from: from.server, to: to.server, held, stop };
    const problem = await moveMailbox(step).catch((error: unknown) => String(error));
    moves.push({ ...move, problem });
    if (problem === null) held = stop;
  }
  return { moves, messages: (await expectExact(program, sent).catch(() => ({ messages: -1 }))).messages };
}

type Step = {
  readonly program: Program;
  readonly sent: readonly MatrixMessage[];
  readonly from: ImapServer;
  readonly to: ImapServer;
  /** Stops of the two. */
  readonly held: number;
  readonly stop: number;
};

/** null: all is as it should be. */
async function moveMailbox({ program, sent, from, to, held, stop }: Step): Promise<string | null> {
  const user = tourUser(stop);
  await using source = await openClient(from, users, tourUser(held));
  await fill(to, user, await source.read('INBOX'));
  const connection = ['--host', to.host, '--port', `${to.tlsPort}`, '--ca-file', to.caFile, '--user', user];
  await program.run(
    ['mailbox', 'set', 'tour', ...connection, '--new-password', '--password-stdin'],
    passwordInput(user),
  );
  const [polled] = await poll(program, 'tour');
  const found = Object.entries(polled?.outcomes ?? {}).filter(([, count]) => count > 0);
  await expectExact(program, sent);
  const isKnown = found.length === 1 && polled?.outcomes['duplicate'] === sent.length;
  return isKnown ? null : found.map(([outcome, count]) => `${count} ${outcome}`).join(', ') || 'nothing was listed';
}

async function fill(server: ImapServer, user: string, messages: readonly Uint8Array[]): Promise<void> {
  await using client = await openClient(server, users, user);
  if (server.isShared) await client.empty('INBOX');
  await client.append('INBOX', messages);
}

/** Hierholzer's algorithm on the complete directed graph: every pair in both directions, once. */
export function circuit(count: number): readonly number[] {
  const left = Array.from({ length: count }, (_, from) =>
    Array.from({ length: count }, (_, to) => to).filter((to) => to !== from),
  );
  const [path, found] = [[0], [] as number[]];
  while (path.length > 0) {
    const next = left[path.at(-1) ?? 0]?.pop();
    if (next === undefined) found.push(path.pop() ?? 0);
    else path.push(next);
  }
  return found.toReversed();
}
