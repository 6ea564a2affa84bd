/**
 * Alerts and dashboard: they query metrics and labels that exist, and each alert says what to do. With promtool
 * (Debian: prometheus) their syntax is checked too, and the alerts run through cases.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildProgram } from '../../../src/commands/program.ts';
import { findProgram, runProgram } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { readExposition } from './exposition.ts';
import { announced, fullRender, mailboxCheck, sampleReadiness } from './samples.ts';

const root = join(import.meta.dirname, '../../..');
const alertsPath = join(root, 'systemd/monitoring/alerts.yml');
const alertmanagerPath = join(root, 'systemd/monitoring/alertmanager.yml');
const alerts = await readFile(alertsPath, 'utf8');
const dashboard = await readFile(join(root, 'systemd/monitoring/grafana-dashboard.json'), 'utf8');
const rendered = await fullRender();

/** One alert; every value is on one line. */
type Alert = { readonly name: string; readonly lines: ReadonlyMap<string, string> };

function alertsIn(text: string): readonly Alert[] {
  return text
    .split(/^ {6}- alert: /m)
    .slice(1)
    .map((block) => {
      const [name = ''] = block.split('\n');
      const lines = [...block.matchAll(/^ {8,10}(\w+): (\S.*)$/gm)].map(
        ([, key = '', value = '']) => [key, value] as const,
      );
      return { name, lines: new Map(lines) };
    });
}

/** Every expression of a dashboard: its panels, its variables and its annotations. */
function queriesIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    (key === 'expr' || key === 'definition') && typeof inner === 'string' ? [inner] : queriesIn(inner),
  );
}

/** The metrics that an expression queries, each with the labels of its matchers. */
function asked(expression: string): readonly { readonly name: string; readonly labels: readonly string[] }[] {
  return [...expression.matchAll(/\b((?:ticketmaild|process|nodejs)_[a-z0-9_]+)(?:\{([^}]*)\})?/g)].map(
    ([, name = '', matchers = '']) => ({
      name,
      labels: [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label = '']) => label),
    }),
  );
}

/** Labels that Prometheus adds to every sample. */
const added = ['job', 'instance'];

/** Queried metrics and labels that no render has. */
function unknownIn(expressions: readonly string[]): string[] {
  const known = new Map<string, Set<string>>();
  for (const { name, labels } of readExposition(rendered))
    known.set(name, new Set([...(known.get(name) ?? added), ...Object.keys(labels)]));
  return expressions.flatMap(asked).flatMap(({ name, labels }) => {
    const has = known.get(name);
    if (has === undefined) return [name];
    return labels.filter((label) => !has.has(label)).map((label) => `${name}{${label}}`);
  });
}

/** Of recording rules too. */
const expressionsOfAlerts = [...alerts.matchAll(/^ {8}expr: (\S.*)$/gm)].map(([, expression = '']) => expression);
const expressionsOfDashboard = queriesIn(JSON.parse(dashboard));

test('alerts and dashboard query only metrics and labels that exist', () => {
  expect(unknownIn(expressionsOfAlerts)).toEqual([]);
  expect(unknownIn(expressionsOfDashboard)).toEqual([]);
  expect(unknownIn(['rate(ticketmaild_mails_total[5m])', 'ticketmaild_ready{mailbox="a"}'])).toEqual([
    'ticketmaild_mails_total',
    'ticketmaild_ready{mailbox}',
  ]);
});

test('every metric is on the dashboard', () => {
  const shown = new Set(expressionsOfDashboard.flatMap(asked).map(({ name }) => name.replace(/_bucket$/, '')));
  expect([...announced(rendered).keys()].filter((name) => !shown.has(name) && name !== 'process_max_fds')).toEqual([]);
});

test('each alert has a severity, a summary and a description', () => {
  const all = alertsIn(alerts);
  expect(all.length).toBeGreaterThan(20);
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
  for (const { name, lines } of all) {
    expect(name).toMatch(/^Ticketmaild[A-Z]\w+$/);
    expect([...lines.keys()].sort()).toEqual(expect.arrayContaining(['description', 'expr', 'severity', 'summary']));
    expect(lines.get('severity')).toMatch(/^(critical|warning)$/);
    expect(lines.get('description')?.length).toBeGreaterThan(80);
  }
});

test('no alert has a command that contains a label value', () => {
  const descriptions = alertsIn(alerts).map(({ lines }) => lines.get('description') ?? '');
  expect(descriptions.filter((text) => /ticketmaild [a-z][^.:;]*\{\{/.test(text))).toEqual([]);
});

/** Required options that a command in a text lacks. */
function optionsMissing(text: string): readonly string[] {
  const program = buildProgram(
    async () => undefined,
    () => undefined,
  );
  return [...text.matchAll(/\bticketmaild ([a-z-]+) ?([a-z-]*)([^.:;]*)/g)].flatMap(([, first, second, rest = '']) => {
    const group = program.commands.find((command) => command.name() === first);
    const command = group?.commands.find((inner) => inner.name() === second) ?? group;
    return (command?.options ?? [])
      .filter(({ mandatory, long }) => mandatory && long != null && !rest.includes(long))
      .map(({ long }) => `${first} ${second} ${long}`);
  });
}

test('no alert has a command without a required option', () => {
  expect(alertsIn(alerts).flatMap(({ lines }) => optionsMissing(lines.get('description') ?? ''))).toEqual([]);
  expect(optionsMissing('See ticketmaild message list for the reason.')).toEqual(['message list --mailbox']);
});

/** The values of a label in the samples that the selector of an expression matches. */
function selected(expression: string, text: string, wanted: string): readonly (string | undefined)[] {
  const [, name, matchers = ''] = /\b(ticketmaild_[a-z_]+)\{([^}]*)\}/.exec(expression) ?? [];
  const all = [...matchers.matchAll(/(\w+)(=~|!~|!=|=)"([^"]*)"/g)];
  return readExposition(text)
    .filter((sample) => sample.name === name)
    .filter(({ labels }) =>
      all.every(([, label = '', operator = '', value = '']) => {
        const has = operator.endsWith('~')
          ? new RegExp(`^(?:${value})$`).test(labels[label] ?? '')
          : labels[label] === value;
        return has !== operator.startsWith('!');
      }),
    )
    .map(({ labels }) => labels[wanted]);
}

test('mailboxes that wait for a key or have a warning count as failing in no alert', async () => {
  const list = [
    mailboxCheck('refused', { status: 'failing', reason: 'login_refused: x' }),
    mailboxCheck('expired', { status: 'failing', reason: 'tls_expired: x' }),
    mailboxCheck('sealed', { status: 'waiting', reason: 'waiting: x' }),
    mailboxCheck('unstable', { status: 'warning', reason: 'uidvalidity_unstable: x' }),
  ];
  const { mailboxes } = sampleReadiness().checks;
  const text = await fullRender(sampleReadiness({ mailboxes: { ...mailboxes, list } }));
  const [failing = ''] = expressionsOfAlerts.filter((expression) => expression.includes('ticketmaild_mailbox_trouble'));
  expect(selected(failing, text, 'mailbox')).toEqual(['refused', 'expired']);
});

test('the dashboard can be imported: a data source variable, rows, and panels that do not overlap', () => {
  const { templating, panels, uid } = JSON.parse(dashboard);
  expect(uid).toBe('ticketmaild');
  expect(templating.list[0]).toMatchObject({ name: 'datasource', type: 'datasource', query: 'prometheus' });
  const rows = panels.filter((panel: { type: string }) => panel.type === 'row');
  expect(rows.map(({ title }: { title: string }) => title)).toEqual([
    'Overview',
    'Mail',
    'Mailboxes',
    'Servers',
    'Process',
  ]);
  const taken = new Set<string>();
  for (const { id, gridPos, datasource, type, title, description } of panels) {
    if (type !== 'row')
      expect([datasource.uid, title, description]).toEqual([
        expect.stringMatching(/^\$\{datasource\}$/),
        expect.stringMatching(/./),
        expect.stringMatching(/./),
      ]);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        expect(taken.has(`${x} ${y}`) || x >= 24).toBe(false);
        taken.add(`${x} ${y}`);
      }
    expect(taken.has(`id ${id}`)).toBe(false);
    taken.add(`id ${id}`);
  }
});

const isWithoutPromtool = findProgram('promtool') === null;

test.skipIf(isWithoutPromtool)(
  'promtool accepts alerts and dashboard, and the alerts pass their cases',
  async () => {
    await using folder = await temporaryFolder('monitoring');
    const rules = expressionsOfDashboard
      .filter((expression) => !expression.startsWith('label_values'))
      .map((expression) => expression.replaceAll('$__rate_interval', '1m').replaceAll('$__range', '6h'))
      .map((expr, index) => ({ record: `panel:${index}`, expr }));
    // JSON is YAML too.
    const path = join(folder.path, 'dashboard.yml');
    await writeFile(path, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    expect(await runProgram('promtool', ['check', 'rules', alertsPath])).toContain('SUCCESS');
    expect(await runProgram('promtool', ['check', 'rules', path])).toContain(`SUCCESS: ${rules.length} rules found`);
    const cases = join(import.meta.dirname, 'alert-cases.yml');
    expect(await runProgram('promtool', ['test', 'rules', cases])).toContain('SUCCESS');
  },
  180_000,
);

test('the inhibition rules name alerts that exist', async () => {
  const text = await readFile(alertmanagerPath, 'utf8');
  const names = alertsIn(alerts).map(({ name }) => name);
  const matched = [...text.matchAll(/alertname =~ "([^"]+)"/g)].flatMap(([, list = '']) => list.split('|'));
  expect(matched.length).toBeGreaterThan(10);
  expect(matched.filter((one) => !names.some((name) => new RegExp(`^(?:${one})$`).test(name)))).toEqual([]);
});

test.skipIf(findProgram('amtool') === null)('amtool accepts the configuration of Alertmanager', async () => {
  expect(await runProgram('amtool', ['check-config', alertmanagerPath])).toContain('SUCCESS');
});
