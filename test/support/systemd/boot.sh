#!/bin/bash
# Becomes systemd, PID 1 of its own namespaces, on a copy of a root folder that vanishes with them.
#
# Called by systemd.ts inside fresh mount, PID, UTS, IPC and cgroup namespaces, whose mounts reach nobody outside:
#   boot.sh FOLDER SYSTEM [OUTSIDE INSIDE]…
# FOLDER is an empty folder for the mounts, SYSTEM a root folder, `/` for this machine; each pair is a folder that is
# seen inside, read-only.
# Root is an overlay: what is read comes from SYSTEM, what is written goes into memory.
set -euo pipefail
folder=$1 system=$2
shift 2

mount -t tmpfs -o mode=755,size=3g tmpfs "$folder"
mkdir "$folder/changes" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay -o "lowerdir=$system,upperdir=$folder/changes,workdir=$folder/work" overlay "$root"

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
for name in run tmp dev; do mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/$name"; done
chmod 1777 "$root/tmp"
for name in null zero full random urandom tty; do
  touch "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
for number_name in 0-stdin 1-stdout 2-stderr; do ln -s "fd/${number_name%-*}" "$root/dev/${number_name#*-}"; done
mkdir -m 1777 "$root/dev/shm"
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"

# Only what a unit needs is started: the journal.
for units in "$root/etc/systemd/system" "$root/lib/systemd/system"; do
  find "$units" -maxdepth 1 -name '*.wants' -exec rm -rf {} +
done
mkdir "$root/lib/systemd/system/sockets.target.wants"
for unit in systemd-journald.socket systemd-journald-dev-log.socket; do
  ln -s "../$unit" "$root/lib/systemd/system/sockets.target.wants/$unit"
done
# It would switch on the kernel's auditing, which is this machine's too.
ln -s /dev/null "$root/etc/systemd/system/systemd-journald-audit.socket"
: >"$root/etc/fstab"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"

while [ $# -gt 0 ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2"
  shift 2
done

mkdir "$root/.outside"
cd "$root"
pivot_root . .outside
# shared: systemd leaves that step out in a container, and without it credentials never reach a service.
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /bin/sh -c '
  umount -l /.outside && rmdir /.outside && mount --make-rshared / &&
  exec /lib/systemd/systemd --unit=multi-user.target --show-status=no --log-target=journal'
