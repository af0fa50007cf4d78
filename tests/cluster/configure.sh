# shellcheck shell=bash
# The files of a test cluster: keys, the settings of Slurm and both sshds, and those that lead there: ssh's, livewebcam's.
# Sourced by cluster.sh, which sets dir, the cluster's folder, and nodes, the names of the nodes.
# shellcheck disable=SC2154

# Ports below the range that the kernel gives to outgoing connections, so that none of those takes one.
free_ports() {
    local count=$1 port chosen=()
    while [ ${#chosen[@]} -lt "$count" ]; do
        port=$((20000 + RANDOM % 12000))
        [[ " ${chosen[*]} " == *" $port "* ]] && continue
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || chosen+=("$port")
    done
    echo "${chosen[@]}"
}

configure() {
    mkdir -p "$dir"/{keys,log,munge,state,root}
    # A node is idle once its slurmd has said so, not because it was idle last time.
    rm -f "$dir"/log/* "$dir"/state/node_state*
    # A socket's path may have 107 bytes; the longest is slurmstepd's, spool/n1/n1_<job>.<step>.
    if [ ${#dir} -le 50 ]; then
        run=$dir/run
    else
        run=$(mktemp -d /tmp/livewebcam-cluster-XXXXXX)
        ln -sfn "$run" "$dir/run"
    fi
    mkdir -p "${nodes[@]/#/$run/spool/}"
    local ports
    read -ra ports <<<"$(free_ports $((3 + ${#nodes[@]})))"
    ctld_port=${ports[0]} ssh_port=${ports[1]} jump_port=${ports[2]} node_ports=("${ports[@]:3}")
    make_keys
    write_slurm_conf
    write_sshd_conf sshd "$ssh_port"
    write_sshd_conf jump "$jump_port"
    write_ssh_config
    write_settings
}

make_keys() {
    [ -s "$dir/munge/key" ] || head -c 128 /dev/urandom >"$dir/munge/key"
    local name
    for name in user noisy sshd jump; do
        [ -s "$dir/keys/$name" ] || ssh-keygen -q -t ed25519 -N '' -C "livewebcam-$name" -f "$dir/keys/$name"
    done
    {
        cat "$dir/keys/user.pub"
        # An account whose start files greet everybody, on standard output, SFTP included.
        echo "command=\"echo 'Welcome to the test cluster'; eval \\\"\$SSH_ORIGINAL_COMMAND\\\"\" $(cat "$dir/keys/noisy.pub")"
    } >"$dir/authorized_keys"
    {
        echo "[127.0.0.1]:$ssh_port $(cut -d' ' -f1,2 "$dir/keys/sshd.pub")"
        echo "[127.0.0.1]:$jump_port $(cut -d' ' -f1,2 "$dir/keys/jump.pub")"
    } >"$dir/known_hosts"
}

write_slurm_conf() {
    local host address bind='' all="n[1-${#nodes[@]}]"
    host=$(hostname -s)
    # Slurm can listen on the address of the host's name or on all addresses, and on no other.
    address=$(getent ahostsv4 "$host" | awk 'NR == 1 { print $1 }') || true
    if [[ $address == 127.* ]]; then
        bind=CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
    else
        say "Slurm's ports (which want munge's key) are open on all addresses; a line \"127.0.1.1 $host\" in /etc/hosts avoids it"
        address=127.0.0.1
    fi
    cat >"$dir/slurm.conf" <<END
ClusterName=livewebcam
SlurmctldHost=$host($address)
SlurmctldPort=$ctld_port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$run/munge.sock
$bind

StateSaveLocation=$dir/state
SlurmdSpoolDir=$run/spool/%n
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log

ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
JobRequeue=0

# A job starts within a second, which is as often as slurmctld looks at its queue, and is forgotten soon.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
KillWait=5
MinJobAge=30

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SlurmdParameters=config_overrides
PartitionName=debug Nodes=$all Default=YES MaxTime=01:00:00 State=UP
PartitionName=short Nodes=$all MaxTime=00:01:00 State=UP
END
    local index
    for index in "${!nodes[@]}"; do
        echo "NodeName=${nodes[index]} NodeHostName=$host NodeAddr=$address Port=${node_ports[index]}" \
            "CPUs=4 RealMemory=8000 Gres=gpu:2 Feature=test State=UNKNOWN"
    done >>"$dir/slurm.conf"
    echo "NodeName=$all Name=gpu File=/dev/null,/dev/zero" >"$dir/gres.conf"
    # Later versions would make control groups, for which they want root and systemd; earlier ones do not know the word.
    if printf '23.11\n%s\n' "$(slurmd -V | cut -d' ' -f2)" | sort --version-sort --check=quiet; then
        echo 'CgroupPlugin=disabled' >"$dir/cgroup.conf"
    else
        echo 'ConstrainDevices=no' >"$dir/cgroup.conf"
    fi
}

write_sshd_conf() {
    local name=$1 port=$2 sftp_server
    sftp_server=$(PATH="$PATH:/usr/lib/openssh:/usr/libexec/openssh" command -v sftp-server)
    cat >"$dir/$name.conf" <<END
ListenAddress 127.0.0.1:$port
PidFile $run/$name.pid
HostKey $dir/keys/$name
AuthorizedKeysFile $dir/authorized_keys
AllowUsers $(id -un)
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
# The folder may lie under /tmp, which everybody may write to.
StrictModes no
LogLevel VERBOSE
Subsystem sftp $sftp_server
SetEnv SLURM_CONF=$dir/slurm.conf
END
    # Newer ones lock out an address after failures, and here everybody has the same address.
    echo 'PerSourcePenalties no' >>"$dir/$name.conf"
    "$(command -v sshd)" -t -f "$dir/$name.conf" 2>/dev/null || sed -i '/PerSourcePenalties/d' "$dir/$name.conf"
    # sshd wants its empty folder when root starts it; at boot the system's own service makes it.
    [ "$(id -u)" != 0 ] || [ -d /run/sshd ] || mkdir -m 755 /run/sshd
}

write_ssh_config() {
    cat >"$dir/ssh_config" <<END
Host cluster cluster-behind-jump
    Port $ssh_port
Host cluster-behind-jump
    ProxyJump jump
Host jump
    Port $jump_port
# The same login node for somebody whose shell prints a greeting before every command.
Host cluster-noisy
    Port $ssh_port
    IdentityFile $dir/keys/noisy
Host cluster cluster-behind-jump jump
    IdentityFile $dir/keys/user
Host *
    HostName 127.0.0.1
    User $(id -un)
    IdentitiesOnly yes
    UserKnownHostsFile $dir/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
END
}

# Settings with which livewebcam paints on this cluster, as on a real one: behind its jump host, a GPU for every frame.
write_settings() {
    cat >"$dir/livewebcam.toml" <<END
[cluster]
transport = "ssh"
scheduler = "slurm"
root = "$dir/root"

[ssh]
host = "cluster-behind-jump" # "cluster" leads there directly
config = "$dir/ssh_config"

[slurm]
partition = "debug"
gres = "gpu:1"
time_limit = "00:05:00"
END
}

write_env() {
    cat >"$dir/env" <<END
SLURM_CONF=$dir/slurm.conf
SSH_CONFIG=$dir/ssh_config
SSH_PORT=$ssh_port
JUMP_PORT=$jump_port
SLURMCTLD_PORT=$ctld_port
SSHD_LOG=$dir/log/sshd.log
JUMP_LOG=$dir/log/jump.log
RUN_DIR=$run
END
}
