/**
 * A strict reader of the text format of Prometheus, version 0.0.4. What it does not know is an error with its line.
 *
 * Each metric is announced by HELP and TYPE, in this order and once; its samples follow at once; no sample comes twice;
 * the buckets of a histogram grow up to +Inf, which is the count.
 */
export type Sample = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
};

const sampleLine = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const labelPair = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(,(?!$)|$)/y;
const number = /^[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)$/;

/** All samples; throws at the first line that is wrong. */
export function readExposition(text: string): readonly Sample[] {
  if (!text.endsWith('\n')) throw new Error('no line feed at the end');
  const samples: Sample[] = [];
  const seen = new Set<string>();
  let metric = { name: '', kind: '', helped: '' };
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const once = (key: string): void => {
      if (seen.has(key)) throw new Error(`twice: ${line}`);
      seen.add(key);
    };
    if (line.startsWith('#')) {
      metric = comment(line, metric);
      if (metric.kind !== '') once(metric.name);
      continue;
    }
    const sample = sampleOf(line);
    if (!belongs(sample.name, metric)) throw new Error(`not below its TYPE: ${line}`);
    once(JSON.stringify([sample.name, Object.entries(sample.labels).toSorted()]));
    samples.push(sample);
  }
  checkHistograms(samples);
  return samples;
}

type Metric = { readonly name: string; readonly kind: string; readonly helped: string };

function comment(line: string, before: Metric): Metric {
  const [, helped] = /^# HELP (\S+) \S.*$/.exec(line) ?? [];
  if (helped !== undefined) return { name: '', kind: '', helped };
  const [, name, kind] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
  if (name === undefined || kind === undefined || name !== before.helped) throw new Error(`unknown comment: ${line}`);
  return { name, kind, helped: '' };
}

function belongs(name: string, { name: metric, kind }: Metric): boolean {
  return kind === 'histogram'
    ? ['_bucket', '_sum', '_count'].some((end) => name === metric + end)
    : name === metric && kind !== '';
}

function sampleOf(line: string): Sample {
  const [, name, pairs = '', value = ''] = sampleLine.exec(line) ?? [];
  if (name === undefined || !number.test(value)) throw new Error(`no sample: ${line}`);
  const labels: Record<string, string> = {};
  labelPair.lastIndex = 0;
  while (labelPair.lastIndex < pairs.length) {
    const [, label, escaped = ''] = labelPair.exec(pairs) ?? [];
    if (label === undefined || label in labels) throw new Error(`bad labels: ${line}`);
    labels[label] = escaped.replace(/\\(.)/g, (_, character) => (character === 'n' ? '\n' : character));
  }
  return { name, labels, value: value.endsWith('Inf') ? Number(value.replace('Inf', 'Infinity')) : Number(value) };
}

function checkHistograms(samples: readonly Sample[]): void {
  let below = 0;
  for (const { name, labels, value } of samples) {
    if (name.endsWith('_bucket')) {
      if (value < below) throw new Error(`${name} shrinks at ${labels['le']}`);
      below = value;
      if (labels['le'] !== '+Inf') continue;
      const count = samples.find((one) => one.name === name.replace(/_bucket$/, '_count'));
      if (count?.value !== value) throw new Error(`${name} does not end with its count`);
      below = 0;
    }
  }
}

/** The values of one metric, with the labels in front as JSON; without labels the key is ''. */
export function valuesOf(text: string, name: string): Readonly<Record<string, number>> {
  const samples = readExposition(text).filter((sample) => sample.name === name);
  return Object.fromEntries(samples.map(({ labels, value }) => [Object.values(labels).join(' '), value]));
}
