# shellcheck shell=sh disable=SC2034
# Shell functions over user, folders and units of the service: sourced by systemd/install and systemd/uninstall, and part of
# the maintainer scripts of the Debian package. $tool precedes each message.
configuration=/etc/ticketmaild/ticketmaild.toml
data=/var/lib/ticketmaild
user=ticketmaild
sockets='ticketmaild-health.socket ticketmaild-page.socket'
# Units that ran before the Debian package stopped them.
ran=/run/ticketmaild-ran
# Of an installation from a checkout: versions of the program, units, and the rest in /usr/local.
checkout_home=/usr/local/lib/ticketmaild
checkout_units=/usr/local/lib/systemd/system
checkout_command=/usr/local/bin/ticketmaild
checkout_share=/usr/local/share
# Manual pages and completion, below a folder share.
shared='man/man8/ticketmaild.8 man/man5/ticketmaild.toml.5 bash-completion/completions/ticketmaild
  zsh/site-functions/_ticketmaild fish/vendor_completions.d/ticketmaild.fish'

say() { echo "$*" || true; }
fail() {
  echo "$tool: $1" >&2
  exit "${2:-1}"
}

has_systemd() { [ -d /run/systemd/system ]; }

# One installation at a time, until the process ends.
lock_installation() {
  # For root only: a user who can open it could lock it.
  umask 077
  exec 9>/run/ticketmaild-install.lock
  umask 022
  flock --nonblock 9 || fail 'another installation is running'
}

make_user() {
  getent group $user >/dev/null || groupadd --system $user
  getent passwd $user >/dev/null && return
  useradd --system --gid $user --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
    --comment 'ticketmaild service' $user
  say "made the user $user"
}

make_folders() {
  install -d -o $user -g $user -m 700 $data
  install -d -o root -g $user -m 750 "$(dirname $configuration)"
  [ -d /etc/credstore.encrypted ] || install -d -m 700 /etc/credstore.encrypted
}

# Runs a program as the service's user, in a session of its own and with no terminal, lock or further descriptor of
# root's: another process of that user could take it over, to type into root's shell (TIOCSTI), or to read what root's
# shell has open. bash closes descriptors above 9, which sh cannot name.
as_service() {
  env -i --chdir=/ PATH="$PATH" timeout --foreground --kill-after=5 60 setsid --wait \
    bash -c 'for fd in /proc/self/fd/*; do fd=${fd##*/}; [ "$fd" -le 2 ] || eval "exec $fd>&-"; done; exec "$@"' bash \
    setpriv --reuid=$user --regid=$user --init-groups -- "$@" </dev/null 2>&1
}

# Fails unless the Node $1 starts the launcher $2 on this machine. What it prints goes through the file $3; $4 says what to
# do, or that nothing was changed. $5, where it is given, is a program that loads all modules.
try_program() {
  for started in "$2" ${5:+"$5"}; do
    as_service "$1" --disable-sigusr1 "$started" --version >"$3" && continue
    tr -cd '[:print:]\n' <"$3" >&2
    rm -f "$3"
    fail "the program does not start on this machine, see above: $4"
  done
  rm -f "$3"
}

# Units in one of the states $1 that match the patterns after it.
units_in() {
  states=$1
  shift
  systemctl list-units --plain --no-legend --state="$states" "$@" | sed 's/ .*//'
}

running() { units_in active,activating,reloading ticketmaild.service 'ticketmaild@*.service'; }
open_sockets() { units_in active,failed 'ticketmaild-health*.socket' 'ticketmaild-page*.socket'; }

# All units in memory, sockets first: a connection would start the service again.
loaded_units() {
  for pattern in 'ticketmaild-health*.socket ticketmaild-page*.socket' 'ticketmaild.service ticketmaild@*.service'; do
    set -f
    # shellcheck disable=SC2086 # One word for each pattern.
    systemctl list-units --all --plain --no-legend $pattern | sed 's/ .*//'
    set +f
  done
}

enabled_units() {
  systemctl list-unit-files --plain --no-legend --state=enabled ticketmaild.service 'ticketmaild@?*.service' \
    ticketmaild-health.socket ticketmaild-page.socket 'ticketmaild-health@?*.socket' 'ticketmaild-page@?*.socket' |
    sed 's/ .*//'
}

# Stops units $@. A service that was broken into can postpone its end without limit (EXTEND_TIMEOUT_USEC): it is killed
# 15 seconds after its TimeoutStopSec.
stop_units() {
  for unit in "$@"; do
    deadline=$(systemd-analyze timespan "$(systemctl show "$unit" --property=TimeoutStopUSec --value)" 2>/dev/null |
      sed -n 's/^ *[^ ]*s: \([0-9]\{1,6\}\)[0-9]\{6\}$/\1/p') || true
    timeout --foreground "$((${deadline:-30} + 15))" systemctl stop "$unit" && continue
    echo "$tool: $unit does not stop: it is killed" >&2
    systemctl kill --signal=KILL "$unit" || true
    timeout --foreground 30 systemctl stop "$unit" || return 1
  done
}

# Stops all units until postinst of the package starts those that ran, which the file $ran lists.
stop_for_now() {
  # shellcheck disable=SC2046 # One line for each unit.
  printf '%s\n' $(open_sockets) $(running) | sed '/^$/d' >>$ran
  units=$(loaded_units)
  # shellcheck disable=SC2086 # One word for each unit.
  stop_units $units || fail "$unit cannot be stopped: see systemctl status $unit"
}

# Starts sockets $@, before the service, which takes them over. Sets $taken.
start_sockets() {
  taken=
  for socket in "$@"; do
    systemctl start "$socket" 2>/dev/null || taken="$taken $socket"
  done
}

# Fails when a socket did not start. The services run, and nothing is rolled back: no version would get the port.
require_sockets() {
  [ -n "$taken" ] || return 0
  for socket in $taken; do
    echo "$tool: $socket does not start: another process has its port, and may answer for the service" >&2
  done
  # shellcheck disable=SC2086 # One word for each unit.
  addresses=$(systemctl show --property=Listen --value $taken | sed -n 's/.*:\([0-9]*\) (Stream)$/sport = :\1/p' | sort -u |
    sed '2,$s/^/or /' | tr '\n' ' ')
  echo "hint: Find and end it: ss -ltnp '( $addresses)'; then $again. See After a break-in in $manual." >&2
  exit 1
}

is_checkout_installed() { [ -e $checkout_home ] || [ -e $checkout_units/ticketmaild.service ]; }

# Removes what systemd/install made, except user, data and configuration. Its units are stopped and disabled before.
remove_checkout() {
  for unit in ticketmaild.service ticketmaild@.service ticketmaild-health.socket ticketmaild-health@.socket \
    ticketmaild-page.socket ticketmaild-page@.socket; do
    rm -f "$checkout_units/$unit"
  done
  for folder in $checkout_units "$(dirname $checkout_units)"; do
    [ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty "$folder"
  done
  ! has_systemd || systemctl daemon-reload
  for path in $shared; do rm -f "$checkout_share/$path"; done
  rm -f $checkout_command
  rm -rf $checkout_home
}
