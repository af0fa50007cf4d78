#!/bin/bash
# A frame's journey as a person would make it: scp in, ssh sbatch --wait, scp out, with a job that only copies the file.
# What livewebcam costs is compared with this. Prints the seconds of each frame, one a line.
#
#   by-hand.sh SSH_CONFIG HOST FOLDER PICTURE [FRAMES]     FOLDER: one on HOST that the compute nodes share
set -euo pipefail
export LC_ALL=C

if [ $# -lt 4 ] || [ $# -gt 5 ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
fi
config=$1 host=$2 picture=$4 frames=${5:-20}

remote() { ssh -F "$config" "$host" "$@"; }

# The last line, in case the account's start files print something.
folder=$(remote "mktemp -d '$3/by-hand-XXXXXX'" | tail -n 1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"; remote "rm -rf '\''$folder'\''"' EXIT
printf '%s\n' '#!/bin/sh' '#SBATCH --output=slurm.log' 'cp input.png output.png' >"$scratch/job.sbatch"
scp -q -F "$config" "$scratch/job.sbatch" "$host:$folder/"

for ((frame = 0; frame < frames; frame++)); do
    start=$EPOCHREALTIME
    scp -q -F "$config" "$picture" "$host:$folder/input.png"
    remote "cd '$folder' && sbatch --quiet --wait job.sbatch" >/dev/null
    scp -q -F "$config" "$host:$folder/output.png" "$scratch/output.png"
    end=$EPOCHREALTIME
    cmp --quiet "$picture" "$scratch/output.png" || {
        echo "what came back is not what was sent" >&2
        exit 1
    }
    rm "$scratch/output.png"
    remote "rm '$folder/output.png'"
    awk -v start="$start" -v end="$end" 'BEGIN { printf "%.3f\n", end - start }'
done
