# The agent alone on an empty base, with a list of trust roots for nodes whose own are not mounted. The same layers without
# a container engine: tools/image.
#   docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example.com/pullscope:0.1.0 --push .
# Each platform is built on itself, by a node of that platform or under QEMU: nothing is cross-compiled.
FROM docker.io/library/rust:1-bookworm AS build
# containerd-client's build script calls protoc.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates protobuf-compiler \
 && rm -rf /var/lib/apt/lists/*
# The first line is the list's name, which the agent tells where it uses it.
RUN { dpkg-query --show --showformat='# ca-certificates ${Version}\n' ca-certificates; cat /usr/share/ca-certificates/mozilla/*.crt; } >/roots.pem
WORKDIR /src
COPY . .
# --target keeps the flags from build scripts and procedural macros, which cannot be static.
RUN host=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --package pullscope --target "$host" \
 && cp "target/$host/release/pullscope" /pullscope

FROM scratch
LABEL org.opencontainers.image.title=pullscope org.opencontainers.image.licenses=Apache-2.0
# The node's own roots come first; without them these stand in, and every report says so.
COPY --chmod=644 --from=build /roots.pem /usr/share/pullscope/roots.pem
COPY --from=build /pullscope /pullscope
# containerd's socket belongs to root:root with mode 0660: the group opens it, no root user is needed.
USER 65532:0
EXPOSE 9707
ENTRYPOINT ["/pullscope"]
CMD ["agent", "--config", "/etc/pullscope/config.yaml"]
