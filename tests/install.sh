# shellcheck shell=bash
# What the parts of tests/run need, each by a function that gets it, or calls `skip` with what is missing.
# It goes into ignored folders, but for Chromium, and is pinned by the lock files.

CACHE=$PWD/tests/.cache
NODE=tests/clients/node
BROWSER=tests/clients/browser
PYTHON=tests/clients/python
CARGO_FUZZ=0.13.2
CARGO_DENY=0.20.2

# --- Node.js, Python, Rust -------------------------------------------------------------------------------------------

node_packages() { npm_packages "$NODE"; }

browser_packages() { npm_packages "$BROWSER"; }

# $1: the folder of the lock file.
npm_packages() {
    command -v npm >/dev/null || skip "Node.js with npm is not installed"
    node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || skip "Node.js is older than 20"
    up_to_date "$1/package-lock.json" "$1/node_modules/.installed" && return
    (cd "$1" && npm ci --no-audit --no-fund)
    cp "$1/package-lock.json" "$1/node_modules/.installed"
}

python_packages() { pip_packages "$PYTHON/requirements.txt" "$PYTHON/.venv"; }

lint_packages() { pip_packages tests/lint/requirements.txt "$CACHE/lint"; }

manifests_packages() { pip_packages tests/docker/requirements.txt "$CACHE/manifests"; }

# $1: the lock file. $2: the environment that is made of it.
pip_packages() {
    command -v python3 >/dev/null || skip "Python is not installed"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || skip "Python is older than 3.10"
    python3 -c 'import ensurepip, venv' 2>/dev/null || skip "Python lacks its venv module"
    up_to_date "$1" "$2/.installed" && return
    python3 -m venv --clear "$2"
    "$2/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$1"
    cp "$1" "$2/.installed"
}

# The lock file is the one that was installed from.
up_to_date() { cmp -s "$1" "$2"; }

cargo_fuzz() { cargo_package cargo-fuzz "$CARGO_FUZZ"; }

# Not optimized: it has little to do, and builds in half the time.
cargo_deny() { cargo_package cargo-deny "$CARGO_DENY" --debug; }

# $2: its version. $3...: more for cargo.
cargo_package() {
    [[ $("$CACHE/bin/$1" --version 2>/dev/null) == "$1 $2" ]] && return
    cargo install "$1" --locked --version "$2" --root "$CACHE" --force "${@:3}"
}

# The oldest Rust that Cargo.toml allows, as it is installed, else by rustup into the cache.
oldest_rust() {
    OLDEST_RUST=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    command -v rustup >/dev/null || skip "rustup is not installed"
    rustup run "$OLDEST_RUST" cargo --version 2>/dev/null && return
    export RUSTUP_HOME=$CACHE/rustup
    rustup toolchain install "$OLDEST_RUST" --profile minimal --no-self-update ||
        skip "Rust $OLDEST_RUST is not installed, and rustup cannot fetch it"
}

# --- Debian ----------------------------------------------------------------------------------------------------------

# A package of Debian, unpacked into the cache: that needs no root, and starts no service. $2: a file in it.
debian_package() {
    local root=$CACHE/$1
    [[ -x $root/$2 ]] && return
    command -v apt-get >/dev/null || skip "$1 is not installed, and this is not Debian"
    mkdir -p "$root"
    # What is known of Debian may be too old, and only root can renew it.
    (cd "$root" && { apt-get download "$1" || { apt-get update --quiet && apt-get download "$1"; }; }) ||
        skip "$1 is not installed, and apt-get cannot fetch it"
    dpkg -x "$root/$1"_*.deb "$root"
}

# The browser that $CHROMIUM names, else one that is installed, else Debian's.
chromium_package() {
    local name
    [[ -n ${CHROMIUM:-} ]] && return
    for name in chromium chromium-browser google-chrome-stable google-chrome; do
        if CHROMIUM=$(command -v "$name"); then
            export CHROMIUM
            return
        fi
    done
    command -v apt-get >/dev/null || skip "Chromium is not installed, and this is not Debian"
    ((EUID == 0)) || skip "Chromium is not installed, and only root can install it"
    apt-get update --quiet || skip "Chromium is not installed, and apt-get cannot fetch it"
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends chromium ||
        skip "Chromium is not installed, and apt-get cannot install it"
    export CHROMIUM=/usr/bin/chromium
}

# nginx as it is installed, else that of Debian, unpacked into the cache: installed, it would start a service.
nginx_package() {
    local root=$CACHE/nginx
    command -v openssl >/dev/null || skip "openssl is not installed"
    if command -v nginx >/dev/null; then return; fi
    debian_package nginx usr/sbin/nginx
    export NGINX_BIN=$root/usr/sbin/nginx
    "$NGINX_BIN" -v || skip "nginx of Debian does not run here"
}

# valgrind as it is installed, else that of Debian, unpacked into the cache.
valgrind_package() {
    local root=$CACHE/valgrind
    if command -v valgrind >/dev/null; then return; fi
    debian_package valgrind usr/bin/valgrind
    export PATH=$root/usr/bin:$PATH VALGRIND_LIB=$root/usr/libexec/valgrind
    valgrind --version || skip "valgrind of Debian does not run here"
}

# Prometheus as it is installed, else that of Debian, unpacked into the cache: installed, it would start a service.
prometheus_package() {
    local root=$CACHE/prometheus
    if command -v prometheus >/dev/null && command -v promtool >/dev/null; then return; fi
    debian_package prometheus usr/bin/promtool
    export PROMETHEUS_BIN=$root/usr/bin/prometheus PROMTOOL_BIN=$root/usr/bin/promtool
}
