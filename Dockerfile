# One image for each program, `docker build --target ingress .` and `--target
# worker`: nothing in it but the program, the tool for people and the authorities
# that they trust.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION REVISION
RUN CGO_ENABLED=0 go build -trimpath \
	-ldflags="-s -w -X sentry-temporal/internal/build.Version=$VERSION -X sentry-temporal/internal/build.Revision=$REVISION" -o /out/ ./cmd/ingress ./cmd/worker ./cmd/triage
RUN mkdir /empty

FROM scratch AS base
ARG VERSION REVISION
LABEL org.opencontainers.image.version=$VERSION org.opencontainers.image.revision=$REVISION
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/triage /triage
USER 65532:65532

FROM base AS worker
COPY --from=build /out/worker /worker
# Probes reach it from outside the container, so it wants an ADMIN_TOKEN.
ENV WORKER_ADMIN_ADDR=:8082
EXPOSE 8082
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/worker", "-health"]
ENTRYPOINT ["/worker"]

FROM base AS ingress
COPY --from=build /out/ingress /ingress
# What is kept of deliveries outlives the container, and a new volume takes over
# the owner of this directory.
COPY --from=build --chown=65532:65532 /empty /var/lib/sentry-temporal
VOLUME /var/lib/sentry-temporal
ENV JOURNAL_DIR=/var/lib/sentry-temporal/journal
# Probes and people reach it from outside the container, so it wants an ADMIN_TOKEN.
ENV ADMIN_ADDR=:8081
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/ingress", "-health"]
ENTRYPOINT ["/ingress"]
