/** Long lists of keys are asked for in several queries: a server takes only so many values in one. */

const keysPerQuery = 500;

/** `values` in their order, in portions that fit into one query each. */
export function* portions<T>(values: readonly T[]): Iterable<readonly T[]> {
  for (let at = 0; at < values.length; at += keysPerQuery) yield values.slice(at, at + keysPerQuery);
}

/** `values` in their order, each portion as long as one of `sizes`, the largest that fits: few different statements. */
export function* sized<T>(values: readonly T[], sizes: readonly [number, ...number[]]): Iterable<readonly T[]> {
  for (let at = 0; at < values.length; ) {
    const size = sizes.find((one) => one <= values.length - at) ?? 1;
    yield values.slice(at, at + size);
    at += size;
  }
}
