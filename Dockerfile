# The gateway as a container image; how to run it: compose.yaml and docs/nas.md.

FROM rust:1-bookworm AS build
WORKDIR /build

# Dependencies in a layer of their own, rebuilt only when a manifest changes: every target that a
# manifest names gets a stand-in. The stand-in program exits 1, so that one left behind by mistake is
# found by the check in the last stage. What was built of our own crates is removed: the real sources
# may carry an older date than the stand-ins, and would be taken as already built.
COPY Cargo.toml Cargo.lock ./
COPY protocols/Cargo.toml protocols/
RUN for crate in . protocols; do \
        mkdir -p $crate/src $crate/benches && touch $crate/src/lib.rs \
        && for bench in $(sed -n '/^\[\[bench\]\]/,/^name/ s/^name = "\(.*\)"/\1/p' $crate/Cargo.toml); do \
               echo 'fn main() {}' > $crate/benches/$bench.rs || exit 1; \
           done || exit 1; \
    done \
    && echo 'fn main() { std::process::exit(1) }' > src/main.rs \
    && cargo build --release --locked --bin meterbridge \
    && cargo clean --release --locked -p meterbridge -p meter-protocols \
    && rm -rf src benches protocols

COPY . .
RUN cargo build --release --locked --bin meterbridge


FROM debian:bookworm-slim

# A fixed number, so that the owner of a directory on the host can be set before the first start.
RUN groupadd --gid 10001 meterbridge \
    && useradd --uid 10001 --gid meterbridge --no-create-home --home-dir /data \
           --shell /usr/sbin/nologin meterbridge \
    && install -d -m 0750 -o meterbridge -g meterbridge /config /data
COPY --from=build /build/target/release/meterbridge /usr/local/bin/meterbridge
# The program loads and answers here, with this image's libraries.
RUN ["meterbridge", "--help"]

# Inside a container a listener on loopback cannot be published, so both listen on all addresses.
# The environment wins over config.yaml; `--set` wins over both. The broker then asks for `users`,
# or for METERBRIDGE__BROKER__ALLOW_ANONYMOUS=true, and does not start without one of them.
# With a configuration that has mistakes the web port shows them until they are mended: a container
# that starts again and again tells nobody why.
ENV METERBRIDGE__DATA_DIR=/data \
    METERBRIDGE_SERVE_MISTAKES=true \
    METERBRIDGE__BROKER__LISTEN=0.0.0.0:1883 \
    METERBRIDGE__WEB__LISTEN=0.0.0.0:8080

# By number: Kubernetes' runAsNonRoot cannot tell from a name.
USER 10001:10001
# config.yaml is looked for here first, and files it names without a path (certificates) lie here.
WORKDIR /config
VOLUME ["/config", "/data"]
# MQTT, web interface, meters that dial in.
EXPOSE 1883 8080 8083
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["meterbridge", "health"]
ENTRYPOINT ["meterbridge"]
CMD ["run"]
