/**
 * CPU time of work in this process. Unlike the time on the clock it does not grow while other processes have the
 * processor, so it is what a limit on the amount of work compares; a limit on waiting needs the clock.
 */
export async function cpuMsOf(work: Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work;
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
