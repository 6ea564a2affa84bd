/**
 * State transfer between nodes of a test cluster: a script that copies the folder of another one.
 *
 * The two ends of a state transfer, as wsrep_sst_common of MariaDB describes them: the joiner says where it waits, the
 * donor copies its files while the server holds them still, and both name the state that they hold.
 */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The server looks for wsrep_sst_METHOD on its path. */
export const copyMethod = 'folder_copy';

const script = `#!/bin/sh
set -eu
bypass=no
while [ $# -gt 0 ]; do
  case $1 in
    --role) role=$2; shift ;;
    --address) address=$2; shift ;;
    --datadir) data=$2; shift ;;
    --gtid) state=$2; shift ;;
    --bypass) bypass=yes ;;
    --mysqld-args) break ;;
  esac
  shift
done
port=\${address%%/*}
place=$COPY_FOLDER/copy-\${port##*:}
if [ "$role" = joiner ]; then
  rm -rf "$place"
  mkdir "$place"
  echo "ready $address/copy"
  until [ -e "$place/done" ]; do sleep 0.05; done
  if [ -d "$place/data" ]; then mv "$place/data/"* "$data"; fi
  cat "$place/done"
else
  if [ $bypass = no ]; then
    rm -f "$data/tables_flushed"
    echo 'flush tables'
    until [ -e "$data/tables_flushed" ]; do sleep 0.05; done
    state=$(head -n 1 "$data/tables_flushed")
    mkdir "$place/data"
    for file in "$data"/*; do
      case \${file##*/} in
        galera.cache | g*state.dat | tables_flushed) ;;
        *) cp -a --sparse=always "$file" "$place/data/" || [ ! -e "$file" ] ;;
      esac
    done
    echo continue
  fi
  echo "$state" > "$place/state"
  mv "$place/state" "$place/done"
  echo "done $state"
fi
`;

/** Into `bin` below the folder of the cluster, which the script finds in COPY_FOLDER. */
export async function writeCopyScript(folder: string): Promise<void> {
  await mkdir(join(folder, 'bin'));
  const path = join(folder, 'bin', `wsrep_sst_${copyMethod}`);
  await writeFile(path, script);
  await chmod(path, 0o755);
}
