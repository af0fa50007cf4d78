# LiveWebcamAI. `make` lists what can be done.

CONFIG ?=
PHOTO ?= tests/photos/chelsea.png
MODEL ?=
URL ?=
CLUSTER ?=
# The test cluster's folder; a path without spaces.
CLUSTER_DIR ?= $(CURDIR)/var/cluster

livewebcam := target/release/livewebcam
cluster := tests/cluster/cluster.sh
cluster_config := $(CLUSTER_DIR)/livewebcam.toml
with_config := $(if $(CONFIG),--config '$(CONFIG)')
shell_scripts := $(wildcard tests/*.sh tests/*/*.sh) .ci/run

.DEFAULT_GOAL := help
.PHONY: help build run check deploy cluster-up cluster-down cluster-status run-cluster submit-test bench bench-frame bench-live \
	bench-model test test-emulated check-memory lint check-cuda

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Compile the frontend and the runner
	@tests/prerequisites.sh cargo cc
	cargo build --release --workspace

run: build ## Serve http://localhost:5000, painting on this machine; CONFIG=FILE for other settings
	$(livewebcam) serve $(with_config)

check: build ## Try each step to the cluster of CONFIG=FILE and say what to do about failures
	$(livewebcam) check $(with_config)

deploy: build ## Upload the runner to the cluster of CONFIG=FILE and prove that it starts there
	$(livewebcam) deploy $(with_config)

cluster-up: ## Start a Slurm cluster behind sshd on this machine, in var/cluster
	@$(cluster) up $(CLUSTER_DIR)

cluster-down: ## Stop that cluster
	@$(cluster) down $(CLUSTER_DIR)

cluster-status: ## Show what of that cluster runs, its ports and how to log in
	@$(cluster) status $(CLUSTER_DIR)

run-cluster: build cluster-up ## Serve http://localhost:5000, painting on that cluster over SSH; it stays up afterwards
	$(livewebcam) deploy --config $(cluster_config)
	$(livewebcam) serve --config $(cluster_config)

# A server is started for the occasion, unless URL names one that runs.
submit = $(livewebcam) submit '$(PHOTO)' --output var/submit-test.png \
	$(if $(MODEL),--model '$(MODEL)') $(if $(URL),--url '$(URL)',--start)

submit-test: build ## Send a photograph through and check what comes back; CLUSTER=1, URL=, PHOTO=, MODEL=
	@mkdir -p -m 700 var
ifeq ($(CLUSTER),)
	$(submit) $(with_config)
else
	$(cluster) with $(CLUSTER_DIR) sh -c "$(livewebcam) deploy --config $(cluster_config) && $(submit) --config $(cluster_config)"
endif

bench-frame: build ## Measure what a frame costs besides painting, here and over SSH and Slurm, beside scp and sbatch by hand
	@tests/prerequisites.sh munged slurmctld slurmd sbatch sshd ssh sftp-server
	@# The whole workspace, as everywhere: a choice of packages would change their features and compile them anew.
	cargo bench --profile release --workspace --bench frame

bench-live: build ## Measure warm runners over SSH and Slurm: cost of a frame, frames a second of several visitors; ARGS=
	@tests/prerequisites.sh munged slurmctld slurmd sbatch sshd ssh sftp-server pgrep strace
	cargo build --release --workspace --example sleeper
	$(if $(findstring --simulate,$(ARGS)),NODES=25) cargo bench --profile release --workspace --bench live -- $(ARGS)

# Options for the bench itself stand in ARGS, e.g. `--rounds 3 --only UNet`.
bench_model = cargo build --release --workspace --example random_model && \
	cargo bench --profile release --workspace --bench model --

bench: build ## Compare speed with PyTorch, OpenVINO, onnxruntime and diffusers; UPDATE=1 puts it into docs/performance.md; ARGS=
	@tests/prerequisites.sh python3
	$(bench_model) speed $(if $(UPDATE),--update) $(ARGS)

bench-model: build ## Compare latents and pictures with diffusers', and memory and seconds of a full-size SD-Turbo; ARGS=
	@tests/prerequisites.sh python3
	$(bench_model) model $(ARGS)

test: ## Install what the tests need from Debian's packages, then run them all
	@tests/prerequisites.sh --install cargo cc munged slurmctld slurmd sbatch sshd sftp-server ssh pgrep chromium chromedriver curl
	cargo build --release --workspace
	@# Folders of their own: a server or a cluster that runs from var/ is not disturbed.
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
		LIVEWEBCAM__CLUSTER__ROOT="$$scratch/root" $(MAKE) submit-test CLUSTER= && \
		$(MAKE) submit-test CLUSTER=1 CLUSTER_DIR="$$scratch/cluster"
	cargo test --release --workspace --lib --tests --no-fail-fast

# Statically linked, because there is nothing else on the emulated machine.
test-emulated: ## Run the kernels' tests on an emulated processor with AVX-512 and AMX; takes half an hour, or an hour the first time
	@tests/prerequisites.sh --install cargo cc xorriso
	RUSTFLAGS='-C target-feature=+crt-static' \
		CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='$(CURDIR)/tests/emulate/emulate.sh $(CURDIR)/var/emulate' \
		cargo test --release --target x86_64-unknown-linux-gnu --package livewebcam-kernels --tests -- --test-threads 1

check-memory: ## Run the kernels' tests under valgrind, on the instruction sets that it knows of this machine's
	@tests/prerequisites.sh --install cargo cc valgrind
	SLOW_PROCESSOR=1 cargo test --release --package livewebcam-kernels --tests \
		--config "target.'cfg(unix)'.runner = 'valgrind --quiet --error-exitcode=99'"

lint: ## Check formatting, clippy's warnings, the page's scripts and the shell scripts
	@tests/prerequisites.sh --install cargo cc node shellcheck
	cargo fmt --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	@for script in $$(find static -name '*.js'); do \
		node --check --input-type=module - <"$$script" || { echo "in $$script" >&2; exit 1; }; \
	done
	shellcheck --external-sources $(shell_scripts)

check-cuda: ## Check, link and start the runner with everything for NVIDIA's GPUs, without one (2 GB of packages); KERNELS=all
	@tests/prerequisites.sh --install cargo cc git python3
	tests/cuda/check.sh target/check-cuda
