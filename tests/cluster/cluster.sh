#!/bin/bash
# A real Slurm cluster behind real sshds, on this machine, on loopback, as the user who calls it.
#
#   cluster.sh up DIR        start it; everything lies under DIR, with DIR/env naming ports and files
#   cluster.sh down DIR      end the daemons, the sessions and the jobs of that cluster, and nothing else
#   cluster.sh status DIR    what runs, and how to log in; exit 1 unless all of it runs
#   cluster.sh run DIR       up, print "ready", wait for the end of standard input, down; an empty DIR goes away too
#   cluster.sh with DIR COMMAND...   run the command while it is up; down again if it was not up before
#
# `run` is for tests: one that dies closes the pipe, and its cluster goes down with it. Clusters in different folders
# do not touch one another. NODES slurmd (2 without a word) with two GPUs each, one sshd as the login node, another as the
# jump host.
set -euo pipefail
umask 077

here=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cluster/configure.sh
. "$here/configure.sh"

export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
mapfile -t nodes < <(seq -f 'n%g' "${NODES:-2}")
daemons=(munged slurmctld "${nodes[@]/#/slurmd-}" sshd jump)

say() { echo "cluster: $*" >&2; }
die() {
    say "$@"
    exit 1
}

# One at a time in a folder.
locked() {
    exec 9>"$dir/lock"
    flock 9
    "$@"
    exec 9>&-
}

# The process of a daemon if it runs: the pid of its file, provided that its command line names this cluster's file.
pid_of() {
    local pid named
    case $1 in
    munged) named=$dir/munge/key ;;
    slurm*) named=$dir/slurm.conf ;;
    *) named=$dir/$1.conf ;;
    esac
    pid=$(cat "$dir/run/$1.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$named " && echo "$pid"
}

running() {
    local daemon
    for daemon in "${daemons[@]}"; do
        pid_of "$daemon" >/dev/null || return 1
    done
}

# Daemons get none of the caller's environment, files or terminal.
start() {
    local name=$1
    shift
    env -i PATH="$PATH" HOME="$HOME" LANG=C.UTF-8 SLURM_CONF="$dir/slurm.conf" "$@" \
        </dev/null >>"$dir/log/$name.start" 2>&1 9>&- || {
        cat "$dir/log/$name.start" >&2
        return 1
    }
}

start_all() {
    start munged munged --force --key-file="$dir/munge/key" --socket="$run/munge.sock" \
        --pid-file="$run/munged.pid" --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed" || return 1
    start slurmctld slurmctld -f "$dir/slurm.conf" || return 1
    local name
    for name in "${nodes[@]}"; do
        start "slurmd-$name" slurmd -f "$dir/slurm.conf" -N "$name" || return 1
    done
    for name in sshd jump; do
        start "$name" "$(command -v sshd)" -f "$dir/$name.conf" -E "$dir/log/$name.log" || return 1
    done
}

idle_nodes() { SLURM_CONF=$dir/slurm.conf sinfo --noheader --Node --partition=debug --format=%T 2>/dev/null | grep -cx idle || true; }

port_was_taken() { grep -qi 'address already in use' "$dir"/log/*.start "$dir"/log/*.log; }

wait_until_ready() {
    local started=$SECONDS
    until [ "$(idle_nodes)" = "${#nodes[@]}" ] && running; do
        port_was_taken && return 1
        # A daemon that is not there by now has ended.
        [ $SECONDS -lt $((started + 5)) ] || running || return 1
        [ $SECONDS -lt $((started + 30)) ] || return 1
        sleep 0.1
    done
}

up() {
    if running; then
        say "already up in $dir"
        return
    fi
    "$here/../prerequisites.sh" munged slurmctld slurmd sbatch sshd ssh ssh-keygen sftp-server pgrep
    stop_all
    local attempt
    for attempt in 1 2 3; do
        configure
        if start_all && wait_until_ready; then
            write_env
            say "up in $dir"
            return
        fi
        stop_all
        # Somebody may have taken a port between its choice and its use.
        port_was_taken || break
        say "a port was taken meanwhile; trying others"
    done
    tail -n 5 "$dir"/log/*.start "$dir"/log/*.log >&2
    die "it did not come up (attempt $attempt); the logs are in $dir/log"
}

# All descendants of the given processes, themselves included.
family() {
    ps -e -o pid=,ppid= | awk -v roots="$*" '
        BEGIN { split(roots, list, " "); for (i in list) wanted[list[i]] = 1 }
        { parent[$1] = $2 }
        END {
            for (pid in parent)
                for (p = pid; p > 1; p = parent[p])
                    if (p in wanted) { print pid; break }
        }'
}

# What outlives its daemon: slurmstepd, which leaves slurmd's family but stays in this cluster's folder, and its jobs.
job_processes() {
    local pid steps=()
    for pid in $(pgrep -u "$(id -u)" -x slurmstepd); do
        case $(readlink "/proc/$pid/cwd" 2>/dev/null) in
        "$dir"/* | "$run"/*) steps+=("$pid") ;;
        esac
    done
    [ ${#steps[@]} = 0 ] || family "${steps[@]}"
}

# Whether a process runs; one that ended and was not yet reaped does not.
alive() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null && [[ ${stat##*) } != Z* ]]
}

# Sends the signal, and SIGKILL to what is left after two seconds; returns when all have ended.
end_processes() {
    local signal=$1 pid end=$((SECONDS + 2))
    shift
    [ $# -gt 0 ] || return 0
    kill "-$signal" "$@" 2>/dev/null || true
    for pid; do
        while alive "$pid"; do
            [ $SECONDS -lt $end ] || kill -KILL "$pid" 2>/dev/null || true
            sleep 0.02
        done
    done
}

# Slurm's own way, so that it knows of the end; what takes longer than a second to die is killed later.
cancel_jobs() {
    local end=$((SECONDS + 2))
    export SLURM_CONF=$dir/slurm.conf
    timeout 3 scancel --quiet --user="$(id -un)" 2>/dev/null || true
    until [ -z "$(timeout 3 squeue --noheader 2>/dev/null)" ] || [ $SECONDS -ge $end ]; do sleep 0.1; done
}

stop_all() {
    local name pid pids=()
    run=$(readlink -f "$dir/run" 2>/dev/null) || return 0
    for name in sshd jump; do
        pid=$(pid_of "$name") && mapfile -t -O ${#pids[@]} pids < <(family "$pid")
    done
    end_processes TERM "${pids[@]}"
    if pid_of slurmctld >/dev/null; then cancel_jobs; fi
    mapfile -t pids < <(job_processes)
    end_processes KILL "${pids[@]}"
    pids=()
    for name in "${nodes[@]/#/slurmd-}" slurmctld munged; do
        pid=$(pid_of "$name") && pids+=("$pid")
    done
    end_processes TERM "${pids[@]}"
    rm -rf "$run" "$dir/run" "$dir/env"
}

down() {
    if [ -e "$dir/run" ]; then
        stop_all
        say "down in $dir"
    else
        say "not up in $dir"
    fi
}

status() {
    local name pid all=0
    for name in "${daemons[@]}"; do
        if pid=$(pid_of "$name"); then
            printf '%-10s runs, pid %s\n' "$name" "$pid"
        else
            printf '%-10s does not run\n' "$name"
            all=1
        fi
    done
    if [ $all = 0 ]; then
        SLURM_CONF=$dir/slurm.conf sinfo --Node --format='%8N %10T %6c %10G %P' || all=1
        cat "$dir/env"
        echo "log in with: ssh -F $dir/ssh_config cluster     (or cluster-behind-jump)"
    fi
    return $all
}

# Standard input is the leash. A process group that is killed whole must not take us along, hence a session of our own.
run() {
    if [ -z "${LIVEWEBCAM_CLUSTER_LEASHED:-}" ] && ! [ -t 0 ]; then
        LIVEWEBCAM_CLUSTER_LEASHED=yes exec setsid --wait "$0" run "$dir"
    fi
    trap 'exit 130' INT TERM HUP
    # A folder that was empty goes away again with everything in it.
    if [ -n "$(ls -A "$dir")" ]; then
        trap 'locked down' EXIT
    else
        trap 'locked down; rm -rf "$dir"' EXIT
    fi
    locked up
    echo ready
    while read -r _; do :; done
}

with() {
    if ! running; then
        trap 'exit 130' INT TERM HUP
        trap 'locked down' EXIT
        locked up
    fi
    "$@"
}

command=${1:-}
case $command in
up | down | status | run) [ $# = 2 ] || command=usage ;;
with) [ $# -gt 2 ] || command=usage ;;
*) command=usage ;;
esac
if [ "$command" = usage ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
fi

dir=$2
case $command in
up | run | with) mkdir -p "$dir" ;;
*)
    [ -d "$dir" ] || {
        say "not up: there is no $dir"
        [ "$command" = down ]
        exit
    }
    ;;
esac
dir=$(cd -P "$dir" && pwd)
# Slurm and sshd each have their own idea of quoting, and Slurm of the percent sign.
[[ $dir =~ ^[A-Za-z0-9/._@+-]+$ ]] || die "the path may hold letters, digits and / . _ @ + - only: $dir"
shift 2
case $command in
up | down) locked "$command" ;;
*) "$command" "$@" ;;
esac
