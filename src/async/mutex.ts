/** One thing at a time: each task begins when the one before it has ended, whatever became of that. */

export type Turns = <T>(task: () => Promise<T>) => Promise<T>;

export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const turn = last.then(task);
    last = turn.catch(() => null);
    return turn;
  };
}
