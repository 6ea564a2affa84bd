/**
 * Polls of several mailboxes in turns within one process, and the CPU and wall time of one poll to each.
 *
 * The order rotates, so that whatever else the machine does, and every collection, meets all of them. Reads one JSON
 * object from standard input and prints one. The environment names data folder, database and configuration. Anything
 * that goes wrong, also a poll that fails, ends it with exit code 1.
 */
import { json } from 'node:stream/consumers';
import { compose } from '../../../src/compose/compose.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { createLog } from '../../../src/log.ts';

export type TurnsOrder = { readonly mailboxes: readonly string[]; readonly warmUps: number; readonly polls: number };

/** Milliseconds of one poll, by mailbox in the order given. */
export type TurnsAnswer = { readonly cpuMs: readonly number[]; readonly wallMs: readonly number[] };

async function measure({ mailboxes: names, warmUps, polls }: TurnsOrder): Promise<TurnsAnswer> {
  const log = createLog({ level: 'error', pretty: false, destination: { write: () => undefined } });
  await using app = await compose(loadConfig({ file: process.env['TICKETMAILD_CONFIG'] ?? null }), log);
  await app.vault.refresh();
  const mailboxes = await Promise.all(names.map((name) => app.store.mailboxByName(name)));
  const { signal } = new AbortController();
  const [cpuMs, wallMs] = [names.map(() => 0), names.map(() => 0)];
  for (let turn = -warmUps; turn < polls; turn += 1)
    for (let step = 0; step < mailboxes.length; step += 1) {
      const at = (((turn + step) % mailboxes.length) + mailboxes.length) % mailboxes.length;
      const mailbox = mailboxes[at];
      if (mailbox === undefined) continue;
      const [before, startedAtMs] = [process.cpuUsage(), performance.now()];
      const { failure } = await app.pollOnce(mailbox, signal);
      if (failure !== null) throw failure;
      if (turn < 0) continue;
      const { user, system } = process.cpuUsage(before);
      cpuMs[at] = (cpuMs[at] ?? 0) + (user + system) / 1000 / polls;
      wallMs[at] = (wallMs[at] ?? 0) + (performance.now() - startedAtMs) / polls;
    }
  return { cpuMs, wallMs };
}

if (import.meta.main) {
  const order = (await json(process.stdin)) as TurnsOrder;
  process.stdout.write(`${JSON.stringify(await measure(order))}\n`);
}
