/**
 * Gauges that hold what was looked up: one number that may be missing, a state of several, a number for each of many.
 *
 * What is not known has no line, instead of a 0 that says something else.
 */
import { Gauge, type Registry } from 'prom-client';

/** Sets a number; null takes its line away. */
export type Single = (value: number | null) => void;

/** Shows which of the states is the one: 1 for it, 0 for the others. */
export type States = (state: string) => void;

/** Replaces all lines: those whose labels are not named any more are gone. */
export type Many<Label extends string> = (
  lines: Iterable<{ readonly labels: Readonly<Record<Label, string>>; readonly value: number | null }>,
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
      return (lines) => {
        gauge.reset();
        for (const { labels, value } of lines) if (value !== null) gauge.set(labels, value);
      };
    },
  };
}
