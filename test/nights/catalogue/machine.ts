/** Nights of the machine and of the process: disk, clock, memory, crashes, a broken configuration, an upgrade. */
import { findFaketime } from '../../support/faults/faked-clock.ts';
import { dropIn } from '../../support/systemd/checkout.ts';
import type { Night, Undo } from '../night.ts';
import { configuration, dataDir, dataMb, install, type Stand } from '../stand.ts';
import { noFaketime } from './database.ts';

const machine = (night: Omit<Night, 'group'>): Night => ({ group: 'machine', ...night });

const home = '/usr/local/lib/ticketmaild';
const silent = /silent|^unit/;
const signal = (name: string) => `systemctl kill --signal=${name} --kill-who=main ticketmaild`;

/** A fault that is a script, and its end. */
function script(make: string, undo = 'true'): Night['make'] {
  return async ({ stand }) => {
    await stand.machine.get(make);
    return () => stand.machine.get(undo);
  };
}

/** Takes the free space away at once: the file system gets as small as what is in it. */
const fillDisk = `
for try in 1 2 3 4 5 6 7 8 9 10; do
  mount -o "remount,size=$(df --output=used --block-size=1k ${dataDir} | tail -n 1 | tr -d ' ')k" ${dataDir} && exit
done
exit 1`;

/**
 * A read-only view in the mounts of the unit, where no program can be executed: what is open for writing stays so, as
 * files are when a mount is made read-only by force. Numbers are MS_BIND, MS_REMOUNT | MS_BIND | MS_RDONLY, MNT_DETACH.
 */
const inUnit = (calls: string) => `
python3 - "$(systemctl show ticketmaild --property=MainPID --value)" <<'PYTHON'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
path = b'${dataDir}'
def check(result):
    if result != 0: sys.exit(os.strerror(ctypes.get_errno()))
check(libc.setns(os.open('/proc/%s/ns/mnt' % sys.argv[1], os.O_RDONLY), 0))
${calls}
PYTHON`;
const lockDisk = inUnit(
  'check(libc.mount(path, path, None, 4096, None)); check(libc.mount(None, path, None, 4129, None))',
);
const unlockDisk = inUnit('check(libc.umount2(path, 2))');

const clockFile = '/etc/night-clock';

/** The daemon starts again under a clock that can be set. */
async function fakeClock({ machine }: Stand): Promise<Undo> {
  const variables = [
    `LD_PRELOAD=${findFaketime()}`,
    `FAKETIME_TIMESTAMP_FILE=${clockFile}`,
    ...['FAKETIME_CACHE_DURATION=1', 'FAKETIME_DONT_FAKE_MONOTONIC=1', 'DONT_FAKE_MONOTONIC=1', 'NO_FAKE_STAT=1'],
  ];
  await machine.get(`echo +0 >${clockFile}`);
  await machine.get(dropIn('clock', variables.map((one) => `Environment=${one}`).join('\n')));
  await machine.get('systemctl restart ticketmaild');
  return () => withoutDropIn(machine, 'clock');
}

function withoutDropIn(where: Stand['machine'], name: string): Promise<string> {
  const file = `/etc/systemd/system/ticketmaild.service.d/${name}.conf`;
  return where.get(`rm ${file} && systemctl daemon-reload && systemctl restart ticketmaild`);
}

/** Ready each time, and dead some seconds later. */
async function crashLoop({ machine }: Stand): Promise<Undo> {
  const code = "setTimeout(() => process.kill(process.pid, 'SIGKILL'), 7_000).unref();\n";
  await machine.run('cat >/etc/crash.mjs', { input: code });
  await machine.get(dropIn('crash', 'Environment=NODE_OPTIONS=--import=/etc/crash.mjs'));
  await machine.get('systemctl restart --no-block ticketmaild');
  return () => withoutDropIn(machine, 'crash');
}

/** Of control groups of version 1, which stand beside those of version 2 on some machines. */
const memoryGroup = '/run/night-memory';

async function limitMemory({ machine }: Stand): Promise<Undo> {
  const group = `${memoryGroup}/ticketmaild-night-${process.pid}-${Date.now()}`;
  await machine.get(`mkdir ${group} && echo 2M >${group}/memory.limit_in_bytes`);
  await machine.get(`systemctl show ticketmaild --property=MainPID --value >${group}/cgroup.procs`);
  const leave = `for pid in $(cat ${group}/cgroup.procs); do echo $pid >${memoryGroup}/cgroup.procs; done`;
  return () => machine.get(`${leave}; rmdir ${group} && umount ${memoryGroup}`);
}

async function noMemoryGroups({ machine }: Stand): Promise<string | null> {
  const { code } = await machine.run(`mkdir -p ${memoryGroup} && mount -t cgroup -o memory none ${memoryGroup}`);
  return code === 0 ? null : 'the memory of a group of processes cannot be limited here';
}

/** The power fails while the new version is copied. */
async function cutInstallation({ machine }: Stand): Promise<Undo> {
  await machine.run(`timeout --signal=KILL 2 ${install}`);
  return async () => undefined;
}

/** The power fails between the switch to a version that never gets ready and its way back. */
async function cutRollback({ machine }: Stand): Promise<Undo> {
  const old = await machine.get(`readlink ${home}/current`);
  await machine.get('rm -rf /root/new && cp -R /srv/checkout /root/new');
  await machine.get('echo "throw 1;" >/root/new/src/commands/service.ts');
  const installing = machine.run(
    'echo $$ >/run/night-install.pid; exec /root/new/systemd/install --packages /srv/packages',
  );
  await machine.until(`[ "$(readlink ${home}/current)" != ${old} ]`, 60_000);
  await machine.run('kill -KILL "$(cat /run/night-install.pid)"');
  await installing;
  return () => machine.get(install);
}

/** After the next installation every version that is kept is whole, and starts. */
async function wholeVersions({ machine }: Stand): Promise<readonly string[]> {
  await machine.get(install);
  const versions = (await machine.get(`ls -d ${home}/*-*`)).split('\n');
  const checked = await Promise.all(
    versions.map(async (path) => {
      const { code } = await machine.run(`${path}/node_modules/.bin/node ${path}/src/ticketmaild.js --version`);
      const { code: isBroken } = await machine.run(`grep -qx 'throw 1;' ${path}/src/commands/service.ts`);
      return code === 0 && isBroken !== 0 ? [] : [`${path} is kept, and does not run`];
    }),
  );
  return [...checked.flat(), ...(versions.length < 2 ? ['no former version is kept'] : [])];
}

export const machineNights: readonly Night[] = [
  machine({
    ...{ name: 'disk full at once', faultS: 40, shows: /^check disk failing/ },
    make: script(fillDisk, `mount -o remount,size=${dataMb}m ${dataDir}`),
  }),
  machine({
    ...{ name: 'disk read-only', faultS: 30, shows: /^check disk failing/ },
    make: script(lockDisk, unlockDisk),
  }),
  machine({
    ...{ name: 'clock of the machine an hour ahead', faultS: 35, shows: /clock/, neverShows: /503/, why: noFaketime },
    prepare: fakeClock,
    make: script(`echo +3600 >${clockFile}`, `echo +0 >${clockFile}`),
  }),
  machine({
    ...{ name: 'memory used up, killed by the kernel', faultS: 15, shows: silent, why: noMemoryGroups, spoils: true },
    make: ({ stand }) => limitMemory(stand),
  }),
  machine({ ...{ name: 'killed once', faultS: 10, shows: silent, spoils: true }, make: script(signal('KILL')) }),
  machine({
    ...{ name: 'crashes 7 s after each start', faultS: 60, shows: /^check crashes failing/ },
    ...{ isShownLong: true, spoils: true },
    make: ({ stand }) => crashLoop(stand),
  }),
  machine({
    ...{ name: 'daemon hangs, watchdog', faultS: 45, shows: silent, spoils: true },
    make: script(signal('STOP')),
  }),
  machine({
    ...{ name: 'reload of a broken configuration', faultS: 15, shows: /^check config/ },
    make: script(
      `echo '[nonsense]' >>${configuration} && systemctl reload ticketmaild`,
      `sed -i /nonsense/d ${configuration} && systemctl reload ticketmaild`,
    ),
  }),
  machine({
    ...{ name: 'upgrade cut while it copies', faultS: 10, shows: null, after: wholeVersions },
    make: ({ stand }) => cutInstallation(stand),
  }),
  machine({
    ...{ name: 'upgrade cut before its rollback', faultS: 20, shows: silent, after: wholeVersions },
    make: ({ stand }) => cutRollback(stand),
  }),
];
