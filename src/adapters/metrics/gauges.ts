/**
 * Prometheus gauges that are set from a snapshot: one number, one state out of several, or a number per label set.
 *
 * A value that is unknown has no sample: a 0 would claim something else.
 */

import { Gauge, type Registry } from 'prom-client';

/** Sets the number; null removes its sample. */
export type Single = (value: number | null) => void;

/** Sets the current state: 1 for it, 0 for the others. */
type States = (state: string) => void;

/** Replaces all samples; label sets that are no longer named disappear. */
type Many<Label extends string> = (
  samples: Iterable<{ readonly labels: Readonly<Record<Label, string>>; readonly value: number | null }>,
) => void;

export type Gauges = {
  single(name: string, help: string): Single;
  states(name: string, help: string, known: readonly string[]): States;
  many<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Many<Label>;
};

export function gaugesIn(registry: Registry): Gauges {
  const registers = [registry];
  return {
    single: (name, help) => {
      const gauge = new Gauge({ name, help, registers });
      gauge.remove();
      return (value) => (value === null ? gauge.remove() : gauge.set(value));
    },
    states: (name, help, known) => {
      const gauge = new Gauge({ name, help, labelNames: ['state'], registers });
      return (state) => {
        gauge.reset();
        for (const one of new Set([...known, state])) gauge.set({ state: one }, one === state ? 1 : 0);
      };
    },
    many: <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Many<Label> => {
      const gauge = new Gauge<Label>({ name, help, labelNames, registers });
      return (samples) => {
        gauge.reset();
        for (const { labels, value } of samples) if (value !== null) gauge.set(labels, value);
      };
    },
  };
}

const labelCharactersMax = 255;

/**
 * A label value: at most 255 characters, well-formed UTF-16, control characters replaced by U+FFFD because parsers of
 * the format disagree on them. A line feed stays: the format escapes it.
 */
export function label(name: string): string {
  const short =
    name.length > labelCharactersMax ? name.slice(0, labelCharactersMax).replace(/[\uD800-\uDBFF]$/, '') : name;
  return short.toWellFormed().replace(/[\0-\x09\x0B-\x1F\x7F]/g, '\uFFFD');
}

/** Never negative, and 0 for a value that is not finite: counting a poll must not fail the poll. */
export function seconds(ms: number): number {
  return Number.isFinite(ms) ? Math.max(0, ms) / 1000 : 0;
}

/** Seconds since 1970 of an ISO 8601 time; null for none. */
export function timestamp(iso: string | null): number | null {
  const ms = iso === null ? Number.NaN : Date.parse(iso);
  return Number.isNaN(ms) ? null : ms / 1000;
}
