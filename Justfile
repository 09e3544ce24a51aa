# Every command of the project. CI runs `./just test` and `./just test-lab`, and nothing else.

set shell := ["bash", "-euo", "pipefail", "-c"]

target := absolute_path(env("CARGO_TARGET_DIR", "target"))

# What the benchmarks and the demo run.
export PULLSCOPE := env("PULLSCOPE", target / "release/pullscope")

# The list of commands.
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Install what is missing on Debian (as root): all, or only what a build, the tests, the demo or the benchmarks need.
setup for="all":
    @tools/setup {{ for }}

# The debug build.
build: (setup "build")
    cargo build --workspace --locked

# The stripped release binary.
release: (setup "build")
    cargo build --release --locked --package pullscope

# What CI checks, but for the lab: format, lints, docs, scripts and tests.
test: (setup "test") lint
    @tools/test

# Format, lints, docs and scripts, without a warning.
lint: (setup "test")
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
    shellcheck --external-sources just .ci/run $(grep -lE '^#!.*(ba)?sh|shellcheck shell' tools/*) demo/run demo/as-root demo/without-root demo/push-image

# What real containerds say of the scenarios' faults: the classifier's corpus, written anew (as root, some minutes).
record-texts: (setup "test")
    cargo build --package pullscope-tests --bins --locked
    @tools/record-texts "{{ target }}/debug/record_texts" > "{{ target }}/real.jsonl"
    mv "{{ target }}/real.jsonl" agent/tests/corpus/real.jsonl

# Every fault on containerd 1.6, 1.7 and 2.1, held against docs/faults.md (as root); `--write` writes it, other words are parts of scenarios' names.
test-lab *what: (setup "test")
    cargo build --workspace --locked
    @tools/lab "{{ target }}/debug/lab" {{ what }}

# The main job on real servers: a private containerd, one healthy registry and eight broken ones.
demo:
    @demo/run

# deploy/ on a real Kubernetes of one node, which the first run builds from Debian's source in some minutes (as root).
test-kubernetes: (setup "test") (setup "kubernetes")
    @tools/test-kubernetes "{{ target }}"

# RSS and CPU beside prometheus-blackbox-exporter: 20 TLS registries, measured for some minutes (as root).
bench-footprint minutes="3": (setup "bench") release
    @tools/sandbox tests/bench/footprint {{ minutes }}

# A wire lane against its round trips, over a link of 20 ms (as root).
bench-latency runs="20": (setup "bench") release
    @tools/sandbox tests/bench/latency {{ runs }}

# The time that /metrics takes with 50 registries (as root).
bench-scrape: (setup "bench") release
    @tools/sandbox tests/bench/scrape

# A test pull beside `ctr images pull`, and what it costs the agent; CONTAINERD is another one than the installed (as root).
bench-pull containerd="containerd": (setup "bench") release
    @tools/sandbox tests/bench/pull "{{ containerd }}"

# How long each query of the dashboard takes, in a Prometheus with an hour of 50 simulated nodes × 20 registries (as root).
bench-dashboard minutes="60": (setup "test")
    cargo build --workspace --locked
    @tools/sandbox "{{ target }}/debug/bench_dashboard" deploy/grafana/pullscope.json deploy/prometheus/rules.yaml {{ minutes }}

# How many error texts are read in a second and core; FILE has one JSON object with a `message` a line.
bench-classify file="": (setup "build")
    cargo bench --package pullscope --bench classify --locked -- {{ file }}

# Random texts for the reading of errors (needs a nightly toolchain); every crash becomes a test.
fuzz minutes="10": (setup "build")
    tools/fuzz {{ minutes }}

# The container image for this machine's platform, without a container engine; PUSH is REGISTRY/REPOSITORY:TAG, by skopeo.
image push="" *options="": (setup "build")
    @tools/image "{{ target }}/image" {{ if push == "" { "" } else { "--push " + quote(push) } }} {{ options }}

# Remove what builds have left.
clean:
    cargo clean
    rm -rf .cache
