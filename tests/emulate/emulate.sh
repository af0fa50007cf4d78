#!/bin/bash
# Runs a program on a processor that this machine has not: an emulated Sapphire Rapids, with AVX-512 and AMX.
#
#   emulate.sh FOLDER PROGRAM [ARGUMENT...]
#
# The emulator is Bochs, built once in FOLDER from Debian's sources with a few faults mended; it boots Debian's kernel with
# the program, which must be linked statically, in its initial file system. What the program prints is printed, and its
# exit code is the script's, so that cargo can have it as a `runner`. Writes to nothing but FOLDER.
#
# There is one processor, and Bochs has no XFD, the feature by which the kernel notices that a thread uses tiles: it says
# it had, and the tiles are not kept when threads of several programs take turns. One program with one busy thread does.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=$1
program=$2
shift 2

# Debian 13 has the first Bochs with AMX; its kernel and its boot loader are taken along, whatever runs here.
suite=trixie
minutes=${EMULATED_MINUTES:-60}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# apt with its own lists and its own idea of what is installed: nothing.
configure_apt() {
    local mirror
    # shellcheck disable=SC2016 # apt expands it
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | head -n 1)
    [ -n "$mirror" ] || { echo "emulate.sh: apt has no repository of Debian; run apt-get update first" >&2 && exit 1; }
    mkdir -p "$folder"/apt/{lists/partial,cache/archives/partial}
    : >"$folder/apt/status"
    for kind in deb deb-src; do
        echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$folder/apt/sources.list"
    cat >"$folder/apt/apt.conf" <<EOF
Dir::State::Lists "$folder/apt/lists";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt/cache";
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
APT::Sandbox::User "";
EOF
    export APT_CONFIG=$folder/apt/apt.conf
    apt-get update -qq
}

fetch() {
    local kernel
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
    mkdir -p "$folder/fetched"
    cd "$folder/fetched"
    apt-get download -qq bochsbios vgabios busybox-static isolinux syslinux-common "$kernel"
    apt-get source -qq --download-only --tar-only bochs
    for package in *.deb; do
        dpkg-deb --extract "$package" "$folder/root"
    done
    mkdir -p "$folder/bochs"
    tar --extract --file bochs_*.orig.tar.* --directory "$folder/bochs" --strip-components 1
}

# What Bochs 3.0 gets wrong: that it should claim XFD, the rows and columns of a saved tile configuration, all but half of
# the rows of saved tiles, whether there are any, the second half of VCVTNE2PS2BF16, where VDPBF16PS finds its operand in
# memory, and code that is overwritten.
mend() {
    sed -i '/BX_ISA_XSAVES))/{n;s/(1<<3)/(1<<3) | (1<<4)/}' cpu/cpuid.cc
    sed -i -e '/vmm16u(8+n) *=/s/\.rows/.bytes_per_row/' -e '/vmmubyte(48+n) *=/s/\.bytes_per_row/.rows/' \
        -e 's/row < BX_TILE_REGISTERS/row < BX_TILE_MAX_ROWS/' -e '/xsave_tiledata_state_xinuse/,/^}/s/== 0/!= 0/' cpu/xsave.cc
    sed -i '/line_mask > mask/d' cpu/icache.h
    sed -i '/bfloat16(op1/s/vmm32u(n)/vmm32u(n - DWORD_ELEMENTS(len))/' cpu/avx/avx512_bf16.cc
    sed -i '/VDPBF16PS_/s/OP_mVdq32/OP_mVdq/' cpu/decoder/ia_opcodes_evex.def
}

compile() {
    cd "$folder/bochs"
    mend
    ./configure --with-nogui --disable-docbook --disable-plugins --enable-cpu-level=6 --enable-x86-64 --enable-pci \
        --enable-cdrom --enable-fpu --enable-avx --enable-evex --enable-amx --enable-protection-keys --enable-cet \
        --enable-uintr --enable-memtype --enable-vmx=2 --enable-all-optimizations CXXFLAGS=-O2 CFLAGS=-O2
    make -j "$(nproc)" bochs
}

build() {
    echo "building the emulator in $folder, which takes some minutes" >&2
    rm -rf "$folder/root" "$folder/bochs" "$folder/fetched"
    (configure_apt && fetch && compile) >"$folder/build.log" 2>&1 || {
        tail -n 20 "$folder/build.log" >&2
        echo "emulate.sh: the emulator could not be built; see $folder/build.log" >&2
        exit 1
    }
    cp "$folder/bochs/bochs" "$folder/emulator"
}

# A newer script wants a newer emulator.
[ "$folder/emulator" -nt "$here/emulate.sh" ] || build

work=$(mktemp -d "$folder/run.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The initial file system: the program, and a shell that starts it.
mkdir -p "$work/init/bin" "$work/disc/isolinux"
cp "$folder/root/usr/bin/busybox" "$work/init/bin/busybox"
cp "$program" "$work/init/program"
{
    echo '#!/bin/busybox sh'
    echo 'export PATH=/bin RUST_BACKTRACE=1 RAYON_NUM_THREADS=1 SLOW_PROCESSOR=1'
    for folder_name in proc sys dev tmp; do
        echo "busybox mkdir -p /$folder_name"
    done
    echo 'busybox mount -t proc proc /proc'
    echo 'busybox mount -t devtmpfs dev /dev'
    echo 'echo EMULATED: begin'
    printf '/program'
    [ $# = 0 ] || printf ' %q' "$@"
    printf '\n'
    echo 'echo EMULATED: end $?'
    echo '# Changing a setting waits until all is sent.'
    echo 'busybox stty -F /dev/ttyS0 -echo'
    echo 'busybox poweroff -f'
} >"$work/init/init"
chmod +x "$work/init/init"
(cd "$work/init" && find . | "$folder/root/usr/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$work/disc/initrd.gz"

cp "$folder"/root/boot/vmlinuz-* "$work/disc/vmlinuz"
cp "$folder/root/usr/lib/ISOLINUX/isolinux.bin" "$folder/root/usr/lib/syslinux/modules/bios/ldlinux.c32" "$work/disc/isolinux/"
# Bochs has no five-level page tables in its system management mode, and no use for mitigations.
cat >"$work/disc/isolinux/isolinux.cfg" <<EOF
default linux
prompt 0
label linux
kernel /vmlinuz
append initrd=/initrd.gz console=ttyS0,115200 quiet mitigations=off nokaslr no5lvl tsc=reliable no_timer_check panic=-1 nosmp
EOF
xorriso -as mkisofs -quiet -o "$work/disc.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$work/disc" 2>"$work/messages" || { cat "$work/messages" >&2 && exit 1; }

cat >"$work/bochsrc" <<EOF
cpu: model=sapphire_rapids, count=1, ips=100000000, reset_on_triple_fault=0
memory: guest=1024, host=1024
romimage: file=$folder/root/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=$folder/root/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=$work/disc.iso, status=inserted
boot: cdrom
display_library: nogui
com1: enabled=1, mode=file, dev=$work/serial
log: $work/log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
EOF
: >"$work/serial"
timeout "${minutes}m" "$folder/emulator" -q -f "$work/bochsrc" </dev/null >"$work/messages" 2>&1 &
emulator=$!
trap 'kill "$emulator" 2>/dev/null || true; rm -rf "$work"' EXIT

# Prints the program's lines as they come. Powering off ends the emulator.
tail --follow --lines +1 --pid "$emulator" --sleep-interval 1 "$work/serial" |
    sed --unbuffered -n 's/\r$//; /^EMULATED: begin/,/^EMULATED: end/{/^EMULATED: /!p}'

code=$(tr -d '\r' <"$work/serial" | sed -n 's/^EMULATED: end //p')
if [ -z "$code" ]; then
    tail -n 30 "$work/serial" "$work/messages" >&2
    echo "emulate.sh: the program did not come to its end; it had $minutes minutes" >&2
    exit 1
fi
exit "$code"
