/** Spelling suggestion: the nearest of `words` by edit distance, or null when none is close. */
export function nearestWord(word: string, words: readonly string[]): string | null {
  const ranked = words.map((candidate) => ({ candidate, steps: editDistance(word, candidate) }));
  const best = ranked.reduce((a, b) => (b.steps < a.steps ? b : a), { candidate: '', steps: Number.POSITIVE_INFINITY });
  return best.steps <= Math.max(2, Math.floor(word.length / 4)) ? best.candidate : null;
}

/** Edit distance with transpositions (Damerau-Levenshtein, optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: readonly number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(above, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const steps = Math.min(at(above, j) + 1, at(row, j - 1) + 1, replaced);
      row.push(swapped ? Math.min(steps, at(before, j - 2) + 1) : steps);
    }
    before = above;
    above = row;
  }
  return at(above, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
