# Tools are pinned here and built into bin/, from the Go module proxy alone.
TEMPORAL_VERSION      := v1.5.1
GOLANGCI_VERSION      := v2.15.0
WORKFLOWCHECK_VERSION := v0.6.0

FUZZTIME ?= 1m

export GOBIN := $(CURDIR)/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z\/]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: bin/temporal ## start everything on free ports, send every sample, show what became of it
	@go run ./cmd/dev demo

.PHONY: dev
dev: bin/temporal ## run Temporal, worker and ingress on this machine until Ctrl-C
	@go run ./cmd/dev

.PHONY: build
build: ## build the programs into bin/
	go build -o bin/ ./cmd/...

.PHONY: test
test: bin/temporal ## run all tests, with the race detector and a few seconds of fuzzing
	go test -race ./...
	@FUZZTIME=2s scripts/fuzz

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME (1m)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

.PHONY: bench
bench: ## measure what a delivery costs
	go test -run '^$$' -bench . -benchmem ./ingress/

.PHONY: lint
lint: bin/golangci-lint bin/workflowcheck ## check style, correctness and determinism
	bin/golangci-lint run ./...
	bin/workflowcheck -show-pos ./workflows/... ./internal/triage/...

.PHONY: histories
histories: bin/temporal ## record the stored history of workflows that have none yet
	go test -count=1 -run TestHistories ./workflows/ -record

bin/temporal:
	@echo "Building the Temporal CLI $(TEMPORAL_VERSION): this takes some minutes, once."
	go install github.com/temporalio/cli/cmd/temporal@$(TEMPORAL_VERSION)

bin/golangci-lint:
	@echo "Building golangci-lint $(GOLANGCI_VERSION): this takes some minutes, once."
	go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

bin/workflowcheck:
	go install go.temporal.io/sdk/contrib/tools/workflowcheck@$(WORKFLOWCHECK_VERSION)
