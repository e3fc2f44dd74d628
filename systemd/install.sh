#!/usr/bin/env bash
# Puts the agent on a stock 64-bit Raspberry Pi OS or Debian 12 (or later), or takes it off again.
#
#   sudo systemd/install.sh [RELEASE]      install or update, from a signed release's folder or else this checkout
#   sudo systemd/install.sh --uninstall    remove all but /etc/besace and /var/lib/besace (besace-provision retire)
#   systemd/install.sh --root DIR          only lay the files out under DIR: nothing is installed or started
#
# Safe to call again: what is in place stays as it is.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=
uninstall=
from=
while [ $# -gt 0 ]; do
  case $1 in
    --uninstall) uninstall=1 ;;
    --root) root=${2:?--root wants a folder}; shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "unknown option $1; see --help" >&2; exit 2 ;;
    *) from=$1 ;;
  esac
  shift
done

# source under systemd/, where it goes
files=(
  "besace.service etc/systemd/system/besace.service"
  "besace-renew.service etc/systemd/system/besace-renew.service"
  "besace-renew.timer etc/systemd/system/besace-renew.timer"
  "bluetooth.service.d/besace.conf etc/systemd/system/bluetooth.service.d/besace.conf"
  "sysusers.d/besace.conf etc/sysusers.d/besace.conf"
  "tmpfiles.d/besace.conf etc/tmpfiles.d/besace.conf"
  "udev/70-besace.rules etc/udev/rules.d/70-besace.rules"
)

die() {
  printf '%s\nNext: %s\n' "$1" "$2" >&2
  exit "${3:-1}"
}

lay_out() {
  local changed=
  for pair in "${files[@]}"; do
    local from=$here/${pair% *} to=$root/${pair#* }
    if ! cmp -s "$from" "$to"; then
      install -D -m 0644 "$from" "$to"
      echo "  ${pair#* }"
      changed=1
    fi
  done
  [ -n "$changed" ] || echo "  units and rules: in place"
}

if [ -n "$root" ]; then
  if [ -n "$uninstall" ]; then
    for pair in "${files[@]}"; do rm -f "$root/${pair#* }"; done
  else
    lay_out
  fi
  exit 0
fi

[ "$(id -u)" = 0 ] || die "this installs system services and needs root" "sudo $0 $*" 2
[ -d /run/systemd/system ] || die "systemd does not run here" "install on the bag itself, or see --root"

if [ -n "$uninstall" ]; then
  systemctl disable --now besace.service besace-renew.timer 2>/dev/null || true
  for pair in "${files[@]}"; do rm -f "/${pair#* }"; done
  rm -rf /opt/besace
  rm -f /usr/local/bin/besace /usr/local/bin/besace-provision
  systemctl daemon-reload
  udevadm control --reload || true
  echo "removed; /etc/besace (identity) and /var/lib/besace (records) are kept"
  exit 0
fi

case $(dpkg --print-architecture 2>/dev/null) in
  arm64 | amd64) ;;
  *) die "64-bit Raspberry Pi OS or Debian is needed (numpy has no wheels for 32-bit ARM)" "write the 64-bit image" ;;
esac
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or later is needed" "use Debian 12 or later"

# The lights' library has a wheel up to Python 3.12; later ones take Debian's, seen through --system-site-packages.
needed=(python3-venv bluez)
venv=()
if [ "$(dpkg --print-architecture)" = arm64 ] && python3 -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then
  needed+=(python3-lgpio)
  venv=(--system-site-packages)
fi
packages=()
for package in "${needed[@]}"; do
  dpkg -s "$package" >/dev/null 2>&1 || packages+=("$package")
done
if [ ${#packages[@]} -gt 0 ]; then
  echo "installing ${packages[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

wanted=("$here/..[page,lights]")
if [ -n "$from" ]; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp "$from"/* "$copy" # what is checked is what is installed, whatever becomes of the stick
  if [ -e /etc/besace/identity/cards.pem ]; then
    /opt/besace/bin/besace-provision check "$copy" || die "nothing was changed" "take the release that the authority signed"
  else
    echo "not checked: this bag belongs to no authority yet"
  fi
  wanted=(--no-index --find-links "$copy" "besace[page,lights]")
fi

echo "files"
lay_out
systemd-sysusers besace.conf
systemd-tmpfiles --create besace.conf
udevadm control --reload || true

echo "the agent, in /opt/besace"
[ -x /opt/besace/bin/python ] || python3 -m venv "${venv[@]}" /opt/besace
systemctl daemon-reload
"$here/update.sh" /opt/besace 30 -c "$here/../constraints.txt" "${wanted[@]}"
ln -sf /opt/besace/bin/besace /opt/besace/bin/besace-provision /usr/local/bin/

if [ -e /etc/besace/besace.toml ]; then
  systemctl enable --quiet besace.service besace-renew.timer
  systemctl restart besace-renew.timer
else
  echo "installed. Next, with the token file of besace-provision new:"
  echo "  sudo besace-provision enrol NAME --hub HOST --token-file FILE"
fi
