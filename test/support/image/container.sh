#!/bin/bash
# Becomes PID 1 of a container, as an engine with --read-only starts it. Called inside new mount and PID namespaces:
#   container.sh IMAGE FOLDER USER VOLUME [OUTSIDE INSIDE]… -- COMMAND…
# IMAGE is the unpacked image, FOLDER an empty folder for the mounts, VOLUME the data; each pair is a file that is seen
# inside. Mount points are made in memory, then the root is read-only.
set -euo pipefail
image=$1 folder=$2 user=$3 volume=$4
shift 4

mount -t tmpfs tmpfs "$folder"
mkdir "$folder/changes" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay -o "lowerdir=$image,upperdir=$folder/changes,workdir=$folder/work" overlay "$root"
mkdir -p "$root/proc" "$root/dev"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
  touch "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mount --bind "$volume" "$root/var/lib/ticketmaild"
# Engines add the names of the network.
set -- /etc/hosts /etc/hosts /etc/resolv.conf /etc/resolv.conf "$@"
while [ "$1" != -- ]; do
  mkdir -p "$(dirname "$root$2")"
  touch "$root$2"
  mount --bind "$1" "$root$2"
  shift 2
done
shift
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" --groups= "$root" "$@"
