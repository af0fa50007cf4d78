#!/bin/sh
# Names the Debian package of every command that is missing, or installs those packages.
#
#   prerequisites.sh COMMAND...             exit 1, with a message, if one is missing
#   prerequisites.sh --install COMMAND...   apt-get install what is missing, and only that
set -eu

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/lib/openssh"
install=
if [ "${1:-}" = --install ]; then
    install=yes
    shift
fi

package_of() {
    case $1 in
    cc | make) echo build-essential ;;
    git) echo git ;;
    python3) echo python3-venv ;;
    chromedriver) echo chromium-driver ;;
    chromium | curl | munged | node | shellcheck | slurmctld | slurmd | strace | valgrind | xorriso) echo "$1" | sed 's/^munged$/munge/; s/^node$/nodejs/' ;;
    sbatch | squeue | sinfo | scontrol | scancel) echo slurm-client ;;
    sftp-server) echo openssh-sftp-server ;;
    ssh | scp | sftp | ssh-keygen) echo openssh-client ;;
    pgrep | ps) echo procps ;;
    sshd) echo openssh-server ;;
    *) echo "prerequisites.sh: no package is known for $1" >&2 && exit 2 ;;
    esac
}

packages=
for command; do
    command -v "$command" >/dev/null && continue
    if [ "$command" = cargo ]; then
        echo "cargo is missing: install Rust from https://rustup.rs (Debian's own is too old)" >&2
        exit 1
    fi
    package=$(package_of "$command")
    [ -n "$install" ] || echo "$command is missing: it is in Debian's package $package" >&2
    case " $packages " in
    *" $package "*) ;;
    *) packages="$packages $package" ;;
    esac
done
[ -n "$packages" ] || exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
if [ -z "$install" ]; then
    echo "install with: ${as_root:+$as_root }apt-get install$packages" >&2
    exit 1
fi
for tool in apt-get $as_root; do
    command -v "$tool" >/dev/null && continue
    echo "these packages are missing, and there is no $tool to install them with:$packages" >&2
    exit 1
done
echo "installing$packages" >&2
$as_root apt-get update -qq >&2
# shellcheck disable=SC2086 # $packages is a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2

# The tests start daemons of their own, on loopback. The services that the packages bring along are not wanted: an
# sshd for everyone that appears because tests were run would be a surprise.
[ -d /run/systemd/system ] || exit 0
for package in $packages; do
    case $package in
    openssh-server) service=ssh ;;
    munge | slurmctld | slurmd) service=$package ;;
    *) continue ;;
    esac
    echo "disabling the service $service that came with $package: the tests do not need it" >&2
    $as_root systemctl disable --now "$service" >&2 || true
done
