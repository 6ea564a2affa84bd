/**
 * Sampler of the surfaces on which an operator sees the state of the daemon: `/readyz`, `/metrics`, systemd, `status`
 * and `mailbox list`, each as a series of looks. Two of them are commands and are asked less often.
 *
 * A look is judged by what an operator reads in it: which mailboxes are said to be ok, and signs, one text for each
 * thing that is not as it should be. What does not answer says nothing is ok.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Readiness } from '../../src/ingest/readiness.ts';
import type { Stand } from './stand.ts';

export const surfaces = ['readyz', 'metrics', 'systemd', 'status', 'list'] as const;
export type Surface = (typeof surfaces)[number];

export type Look = {
  readonly surface: Surface;
  /** When it was asked, and when the answer was there. */
  readonly askedAtMs: number;
  readonly atMs: number;
  /** Mailboxes that it says are ok; `all`: it names none and says that all are. */
  readonly ok: ReadonlySet<string> | 'all';
  readonly signs: readonly string[];
};

export type LogLine = { readonly atMs: number; readonly level: string; readonly event: string };

export type Sampler = {
  readonly looks: readonly Look[];
  readonly log: readonly LogLine[];
} & AsyncDisposable;

type Said = Pick<Look, 'ok' | 'signs'>;

const none: ReadonlySet<string> = new Set();
const answerMsMax = 4_000;
const everyMs = { readyz: 1_000, metrics: 1_000, systemd: 1_000, status: 5_000, list: 15_000 } satisfies Record<
  Surface,
  number
>;

/** Longest time for which one look stands. */
export function lookMs(surface: Surface): number {
  return everyMs[surface];
}

export function startSampler(stand: Stand): Sampler {
  const looks: Look[] = [];
  const log: LogLine[] = [];
  const stop = new AbortController();
  const followed = [followSystemd(stand, looks), followJournal(stand, log)];
  const loops = [
    lookAgain('readyz', looks, stop.signal, () => askReadyz(stand)),
    lookAgain('metrics', looks, stop.signal, () => askMetrics(stand)),
    lookAgain('status', looks, stop.signal, () => askStatus(stand)),
    lookAgain('list', looks, stop.signal, () => askList(stand)),
  ];
  return {
    looks,
    log,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      for (const one of followed) one[Symbol.dispose]();
      await Promise.all(loops);
    },
  };
}

async function lookAgain(surface: Surface, looks: Look[], stop: AbortSignal, ask: () => Promise<Said>): Promise<void> {
  while (!stop.aborted) {
    const askedAtMs = Date.now();
    const said = await ask();
    looks.push({ surface, askedAtMs, atMs: Date.now(), ...said });
    await sleep(Math.max(50, askedAtMs + everyMs[surface] - Date.now()), undefined, { signal: stop }).catch(
      () => undefined,
    );
  }
}

async function askReadyz({ httpPort }: Stand): Promise<Said> {
  const answer = await get(httpPort, '/readyz');
  if (answer === null) return { ok: none, signs: ['readyz silent'] };
  const said = readinessSays(answer.text);
  return answer.status === 200 ? said : { ok: none, signs: [`readyz ${answer.status}`, ...said.signs] };
}

async function askStatus({ machine }: Stand): Promise<Said> {
  const { code, stdout, stderr } = await machine.run('timeout 10 ticketmaild status --json </dev/null');
  const said = stdout.startsWith('{') ? readinessSays(stdout) : { ok: none, signs: [`status: ${lastLine(stderr)}`] };
  return code === 0 ? said : { ok: none, signs: [`status exit code ${code}`, ...said.signs] };
}

/** What an operator reads in the JSON of a readiness. */
export function readinessSays(text: string): Said {
  const { ready, checks } = JSON.parse(text) as Partial<Readiness>;
  if (checks === undefined) return { ok: none, signs: ['no checks'] };
  const bad = Object.entries(checks).flatMap(([name, check]) =>
    'status' in check && check.status !== 'ok' ? [`check ${name} ${check.status}: ${check.reason}`] : [],
  );
  const list = checks.mailboxes?.list ?? [];
  const troubled = list.flatMap(({ mailbox, status, reason }) =>
    status === 'ok' ? [] : [`mailbox ${mailbox} ${status}: ${reason}`],
  );
  const ok = new Set(list.flatMap(({ mailbox, status }) => (status === 'ok' ? [mailbox] : [])));
  return { ok: ready === true ? ok : none, signs: [...bad, ...troubled].filter((sign) => !isPast(sign)) };
}

/** A crash is shown for ten minutes, whatever the state is now. */
function isPast(sign: string): boolean {
  return sign.startsWith('check crashes warning');
}

const troubleMetric = /^ticketmaild_mailbox_trouble\{(?<labels>[^}]*)\} 1$/;
const badCheckMetric =
  /^ticketmaild_check_status\{check="(?<check>[^"]*)",status="(?<status>warning|failing|waiting)"\} 1$/;

async function askMetrics({ httpPort, mailboxes }: Stand): Promise<Said> {
  const answer = await get(httpPort, '/metrics');
  if (answer?.status !== 200) return { ok: none, signs: ['metrics silent'] };
  const lines = answer.text.split('\n');
  const troubled = lines.flatMap((line) => {
    const labels = troubleMetric.exec(line)?.groups?.['labels'] ?? '';
    return /mailbox="([^"]*)"/.exec(labels)?.[1] ?? [];
  });
  const checks = lines.flatMap((line) => {
    const { check, status } = badCheckMetric.exec(line)?.groups ?? {};
    const sign = `check ${check} ${status} (metric)`;
    return check === undefined || isPast(sign) ? [] : [sign];
  });
  const isReady = lines.includes('ticketmaild_ready 1');
  const ok = new Set(mailboxes.map(({ name }) => name).filter((name) => !troubled.includes(name)));
  const signs = [
    ...(isReady ? [] : ['metric ready 0']),
    ...checks,
    ...troubled.map((name) => `mailbox ${name} (metric)`),
  ];
  return { ok: isReady ? ok : none, signs };
}

async function askList({ machine }: Stand): Promise<Said> {
  const { code, stdout, stderr } = await machine.run('timeout 20 ticketmaild mailbox list --json </dev/null');
  if (code !== 0) return { ok: none, signs: [`list: ${lastLine(stderr)}`] };
  const rows = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as ListRow);
  const troubled = rows.filter(({ status }) => status !== 'ok');
  return {
    ok: new Set(rows.filter((row) => !troubled.includes(row)).map(({ name }) => name)),
    signs: troubled.map(({ name, status, status_code: code }) => `list ${name} ${status}: ${code}`),
  };
}

/** `status` null: it is not polled. */
type ListRow = { readonly name: string; readonly status: string | null; readonly status_code: string | null };

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}

const unitScript = `
while :; do
  systemctl show ticketmaild --property=ActiveState --property=StatusText --value | tr '\\n' '\\t'
  echo
  sleep 1
done`;

function followSystemd({ machine }: Stand, looks: Look[]): Disposable {
  return machine.follow(unitScript, (line) => {
    const atMs = Date.now();
    const [first = '', second = ''] = line.split('\t');
    // The order is that of systemd.
    const [active, text] = /^[a-z]+$/.test(first) ? [first, second] : [second, first];
    looks.push({ surface: 'systemd', askedAtMs: atMs, atMs, ...unitSays(active, text) });
  });
}

const pastCrash = /; crashes: crashed: [^;]*/;

/** `Ready: 50 of 50 mailboxes ok, …` says that all are ok; one with fewer of them, or with a problem, does not. */
export function unitSays(active: string, text: string): Said {
  if (active !== 'active') return { ok: none, signs: [`unit ${active}`] };
  const [, ok = '', all = ''] = /^Ready: (\d+) of (\d+) mailboxes ok/.exec(text) ?? [];
  const isFine = ok !== '' && ok === all && !text.replace(pastCrash, '').includes(';');
  return isFine ? { ok: 'all', signs: [] } : { ok: none, signs: [`unit: ${text}`] };
}

function followJournal({ machine }: Stand, log: LogLine[]): Disposable {
  const script = 'exec journalctl --unit=ticketmaild --follow --lines=0 --output=json --output-fields=MESSAGE,_COMM';
  return machine.follow(script, (line) => {
    const { MESSAGE, _COMM: program } = JSON.parse(line) as Readonly<Record<string, unknown>>;
    if (program === 'systemd' || typeof MESSAGE !== 'string') return;
    log.push({ atMs: Date.now(), ...eventIn(MESSAGE) });
  });
}

function eventIn(text: string): Pick<LogLine, 'level' | 'event'> {
  if (!text.startsWith('{')) return { level: 'text', event: text };
  const { level, event } = JSON.parse(text);
  return { level: String(level), event: String(event) };
}

async function get(port: number, path: string): Promise<{ readonly status: number; readonly text: string } | null> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(answerMsMax) });
    return { status: answer.status, text: await answer.text() };
  } catch (error) {
    // No connection, a broken one, or no answer in time.
    if (error instanceof TypeError || error instanceof DOMException) return null;
    throw error;
  }
}
