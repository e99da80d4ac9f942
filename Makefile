# Tools are pinned here and put into bin/: axe by npm, the others built by go.
TEMPORAL_VERSION      := v1.5.1
GOLANGCI_VERSION      := v2.15.0
WORKFLOWCHECK_VERSION := v0.6.0
AXE_VERSION           := 4.14.1
GREMLINS_VERSION      := v0.6.0

# The server that docker-compose.yml runs.
TEMPORAL_SERVER_VERSION := v$(shell sed -n 's|.*image: temporalio/server:||p' docker-compose.yml)

FUZZTIME ?= 1m

# What a new workflow is called, and which event starts it.
NAME  ?=
EVENT ?= sentry.issue.created

# 1: dev and demo act on the real Slack, PagerDuty, GitHub and Sentry that are configured, not on stand-ins.
LIVE ?=

# 1: demo sends every sample.
ALL ?=

# 1: demo keeps up what it has started, until Ctrl-C.
KEEP ?=

# What the programs that are built say with -version; by default Go derives it from git's tags.
VERSION ?=

export GOBIN := $(CURDIR)/bin

# Debian keeps the programs of a PostgreSQL server off PATH.
export PATH := $(PATH):/usr/lib/postgresql/18/bin:/usr/lib/postgresql/17/bin:/usr/lib/postgresql/16/bin:/usr/lib/postgresql/15/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z\/-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: bin/temporal ## start everything on free ports, send a story or, with ALL=1, every sample, show what became of it; KEEP=1: keep it up
	@go run ./cmd/dev demo

.PHONY: dev
dev: bin/temporal ## run Temporal, worker, ingress and stand-ins for Slack and others until Ctrl-C; LIVE=1: the real ones
	@go run ./cmd/dev

.PHONY: new-workflow
new-workflow: ## make folder, test, payload, list line and table row of a workflow: NAME=page_on_fatal [EVENT=sentry.issue.created]
	@go run ./cmd/dev new-workflow '$(NAME)' $(EVENT)

.PHONY: build
build: ## build the programs into bin/
	go build -ldflags='-X sentry-temporal/internal/build.Version=$(VERSION)' -o bin/ ./cmd/...

# What a machine may lack comes before anything is built.
.PHONY: test
test: ## run all tests, with the race detector and a few seconds of fuzzing
	@scripts/need gcc chromium nginx caddy npm strace
	@$(MAKE) --no-print-directory bin/temporal bin/axe.min.js examples/typescript/node_modules
	go test -race ./...
	@FUZZTIME=2s scripts/fuzz

.PHONY: test/postgres
test/postgres: ## run the tests that need Temporal on the server of docker-compose.yml and PostgreSQL
	@scripts/need postgresql
	@$(MAKE) --no-print-directory bin/temporal
	@scripts/temporal-server $(TEMPORAL_SERVER_VERSION)
	TEST_TEMPORAL=postgres go test -count=1 -p 1 ./internal/devserver/... ./internal/starter/ ./cmd/internal/process/ ./cmd/triage/
	TEST_TEMPORAL=postgres go test -count=1 -run TestNamespaceJob .

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME (1m)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

.PHONY: bench
bench: bin/temporal ## measure acknowledgements, starts, memory and what a delivery costs
	@go run ./cmd/bench
	go test -run '^$$' -bench . -benchmem ./ingress/ ./internal/sentry/
	go test -run '^$$' -bench Backlog -benchtime 1x ./internal/forwarder/

.PHONY: chaos
chaos: bin/temporal ## kill and break everything under load, then count the runs
	@scripts/need nginx strace
	@go run ./cmd/chaos

.PHONY: breaks
breaks: bin/temporal ## take each guard out and see the test of it go red
	@scripts/breaks

.PHONY: mutate
mutate: bin/temporal bin/gremlins ## change the code, operator by operator, and count what no test notices
	@scripts/mutate ./internal/sentry ./triage ./internal/yamlfile ./internal/routes ./internal/destinations ./ingress ./internal/forwarder ./internal/seglog ./internal/journal ./internal/starter

.PHONY: lint
lint: bin/golangci-lint bin/workflowcheck ## check style, correctness, determinism, and for mistakes of workflows
	go run ./cmd/triage lint
	bin/golangci-lint run ./...
	bin/workflowcheck -show-pos ./workflows/... ./triage/...

.PHONY: screenshots
screenshots: ## take the pictures in docs/ anew
	@scripts/need chromium emoji $(if $(wildcard bin/axe.min.js),,npm)
	@$(MAKE) --no-print-directory bin/temporal bin/axe.min.js
	go test -count=1 -run '^TestScreenshots' ./cmd/dev/ -screenshots

.PHONY: histories
histories: bin/temporal ## record the stored histories that are missing
	TRIAGE_RECORD=1 go test -count=1 ./workflows/...

bin/temporal:
	@scripts/temporal $(TEMPORAL_VERSION)

bin/golangci-lint:
	@echo "Building golangci-lint $(GOLANGCI_VERSION): this takes some minutes, once."
	go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

bin/workflowcheck:
	go install go.temporal.io/sdk/contrib/tools/workflowcheck@$(WORKFLOWCHECK_VERSION)

bin/gremlins:
	go install github.com/go-gremlins/gremlins/cmd/gremlins@$(GREMLINS_VERSION)

# The rules that the status page has to keep for people who see little or use
# no mouse. npm only fetches them.
bin/axe.min.js:
	npm pack --silent --pack-destination bin axe-core@$(AXE_VERSION)
	tar -xzf bin/axe-core-$(AXE_VERSION).tgz -C bin --strip-components=1 package/axe.min.js
	rm bin/axe-core-$(AXE_VERSION).tgz
	touch bin/axe.min.js

examples/typescript/node_modules: examples/typescript/package-lock.json
	cd examples/typescript && npm ci --no-audit --no-fund
	touch $@
