# The agent alone on an empty base. It brings no trust roots: mount the node's /etc/ssl/certs, which containerd uses too.
FROM docker.io/library/rust:1-bookworm AS build
# containerd-client's build script calls protoc.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends protobuf-compiler \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# --target keeps the flags from build scripts and procedural macros, which cannot be static.
RUN host=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --package pullscope --target "$host" \
 && cp "target/$host/release/pullscope" /pullscope

FROM scratch
COPY --from=build /pullscope /pullscope
# containerd's socket belongs to root:root with mode 0660: the group opens it, no root user is needed.
USER 65532:0
EXPOSE 9707
ENTRYPOINT ["/pullscope"]
CMD ["agent", "--config", "/etc/pullscope/config.yaml"]
