#!/bin/sh
# Checks, links and starts the runner with all that it has for NVIDIA's GPUs, on a machine without a GPU and without CUDA:
# the compiler, the headers and the libraries are those of NVIDIA's packages on PyPI (2 GB). What needs a GPU stays untried.
#
#   check.sh FOLDER   keep everything in FOLDER
#
# KERNELS=all in the environment compiles those of flash attention and of quantised models too, and links the first: hours.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
python=$folder/python

if ! cmp -s "$here/requirements.txt" "$python/requirements.txt"; then
    echo "installing NVIDIA's packages into $python"
    python3 -m venv --clear "$python"
    "$python/bin/pip" install --quiet --no-cache-dir --no-deps --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$python/"
fi
packages=$("$python/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
toolkit=$packages/nvidia/cu13
cudnn=$packages/nvidia/cudnn

# What a toolkit has and the packages leave out: the folder's other name, and the libraries' names for the linker.
ln -sfn lib "$toolkit/lib64"
for library in "$toolkit"/lib/lib*.so.* "$cudnn"/lib/lib*.so.*; do
    ln -sf "${library##*/}" "${library%%.so.*}.so"
done

# The driver comes with a GPU, and is in no package. Every function of this one answers that it is a stub.
driver=$folder/driver
mkdir -p "$driver"
echo '#include <cuda.h>' | cc -E -I "$toolkit/include" - |
    grep -oE '\bcu[A-Z][A-Za-z0-9_]* *\(' | tr -d ' (' | sort -u |
    sed 's/.*/int &(void) { return 34; } \/* CUDA_ERROR_STUB_LIBRARY *\//' |
    cc -x c - -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$driver/libcuda.so.1"
ln -sf libcuda.so.1 "$driver/libcuda.so"

# candle-flash-attn's build script would clone CUTLASS 3.5.0 from GitHub into this cache, unless it is there already.
commit=7d49e6c7e2f8896c47f586706e67e1fb215529dc
cutlass=$folder/cudaforge/git/checkouts/cutlass-$(echo "$commit" | cut -c 1-16)
if [ ! -d "$cutlass/include" ]; then
    mkdir -p "$cutlass/tools/util"
    git init --quiet "$cutlass"
    echo "$commit" >"$cutlass/.git/HEAD"
    cp -r "$packages/cutlass_library/source/tools/util/include" "$cutlass/tools/util/"
    cp -r "$packages/cutlass_library/source/include" "$cutlass/"
fi

export CARGO_TARGET_DIR="$folder/target" CUDAFORGE_HOME="$folder/cudaforge"
export CUDA_HOME="$toolkit" CUDA_PATH="$toolkit" CUDA_ROOT="$toolkit" CUDA_TOOLKIT_ROOT_DIR="$toolkit" CUDNN_LIB="$cudnn"
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-80}"
export PATH="$toolkit/bin:$PATH" LIBRARY_PATH="$driver" LD_LIBRARY_PATH="$driver:$toolkit/lib:$cudnn/lib"
linked=cudnn,flash-attn
if [ "${KERNELS:-}" != all ]; then
    cp "$here/nvcc.sh" "$toolkit/bin/nvcc-for-some"
    export NVCC="$toolkit/bin/nvcc-for-some"
    linked=cudnn
fi
cargo clippy --release -p livewebcam-runner --all-targets --features cudnn,flash-attn -- -D warnings
# Without a GPU, of all tests only these say something new.
cargo test --release -p livewebcam-runner --features "$linked" --test runner options_that_cannot_be_met_are_errors
"$CARGO_TARGET_DIR/release/livewebcam-runner" models
