/**
 * Looking something up for many who ask at once.
 *
 * Whoever asks while a lookup is under way gets its answer too; an answer is good for a moment; a failure is not kept. A
 * lookup that does not end keeps nobody waiting for ever: each asker has a limit, and after `givenUpMs` a new one begins.
 */

export type ShareOptions<T> = {
  /** How long an answer is good. */
  readonly freshMs: (answer: T) => number;
  /** How old a lookup under way may be before the next asker begins a new one. */
  readonly givenUpMs: number;
  /** A clock that only goes on. */
  readonly nowMs: () => number;
};

export function shared<T>(lookUp: () => Promise<T>, { freshMs, givenUpMs, nowMs }: ShareOptions<T>): () => Promise<T> {
  let latest: { readonly answer: Promise<T>; goodUntilMs: number } | null = null;
  return () => {
    if (latest !== null && nowMs() < latest.goodUntilMs) return latest.answer;
    const mine = { answer: begin(lookUp), goodUntilMs: nowMs() + givenUpMs };
    latest = mine;
    mine.answer.then(
      (value) => {
        mine.goodUntilMs = nowMs() + freshMs(value);
      },
      () => {
        mine.goodUntilMs = Number.NEGATIVE_INFINITY;
      },
    );
    return mine.answer;
  };
}

/** A lookup that throws at once fails like one that throws later. */
async function begin<T>(lookUp: () => Promise<T>): Promise<T> {
  return lookUp();
}

/** Null when `answer` takes longer than `ms`; what it says later is nobody's concern. */
export async function within<T>(answer: Promise<T>, ms: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, ms, null);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
