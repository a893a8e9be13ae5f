# Essaim. `make help` lists what can be made.

SHELL := /bin/sh
GO ?= go
.DEFAULT_GOAL := help

GO_SOURCES := go.mod go.sum $(shell find cmd internal web -name '*.go' -not -path 'web/node_modules/*' 2>/dev/null)
EMBEDDED := $(shell find internal -path '*/testdata' -prune -o -type f -not -name '*.go' -print 2>/dev/null)
WASM_SOURCES := $(shell find internal/host/browser internal/engine internal/bt internal/cmaf/index -name '*.go' -not -name '*_test.go' 2>/dev/null)
WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -path 'web/test-results/*' 2>/dev/null)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: tools-run bin/essaim ## build what changed and start the demo
	@exec bin/essaim demo $(ARGS)

.PHONY: build
build: tools-run bin/essaim ## build bin/essaim, with the web app and the engine inside

.PHONY: tools-run tools-test
tools-run:
	@scripts/tools.sh run
tools-test:
	@scripts/tools.sh test

# The steps of a cold build, each named as it begins.
web/node_modules/.ready: web/package.json web/package-lock.json
	@echo "[1/4] fetching the web packages"
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.ready $(WEB_SOURCES)
	@echo "[2/4] building the web pages"
	@cd web && npm run --silent build
	@touch $@

# Without inlining of our own code the module is 18 kB smaller after brotli; a block costs the engine some microseconds more.
web/dist/engine.wasm: web/dist/index.html $(WASM_SOURCES)
	@echo "[3/4] building the engine for browsers"
	@GOOS=js GOARCH=wasm $(GO) build -trimpath -gcflags='essaim/...=-l' -ldflags='-s -w' -o $@ ./internal/host/browser
	@chmod 644 $@ && touch $@
	@node scripts/brotli.mjs $@

bin/essaim: $(GO_SOURCES) $(EMBEDDED) web/dist/index.html web/dist/engine.wasm
	@echo "[4/4] building bin/essaim"
	@CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/essaim

.PHONY: test
test: tools-test lint test-web test-go test-chaos test-browser ## set up, then run every check and test

.PHONY: lint
lint: web/dist/.keep ## formatting, vet, staticcheck
	@echo "== gofumpt, vet, staticcheck"
	@out=$$($(GO) tool gofumpt -l cmd internal lab web/embed.go); [ -z "$$out" ] || { echo "gofumpt would change: $$out"; exit 1; }
	@$(GO) vet ./...
	@$(GO) tool staticcheck ./...

# What has no goroutines gains nothing from the race detector and takes several times as long with it: the pure rooms (internal/arch
# sees to it), and the simulator around them. Where it runs engines side by side, on two shards, the detector looks on all the same.
# Nor do those that mostly reckon or wait for ffmpeg, nor the API's and the program's own tests, each of which is a whole service: `make soak`
# has them with it.
SLOW_RACED := ./cmd/essaim ./internal/api ./internal/ingest ./internal/drm ./internal/insight
UNRACED := /(cmd/essaim|internal/(engine|swarm|sim|demo/film/draw|api|ingest|drm|insight))(/|$$)
.PHONY: test-go
test-go: web/dist/engine.wasm ## Go tests, most with the race detector where there are goroutines
	@echo "== go test -race"
	@$(GO) test -race -parallel 4 -timeout 10m $$($(GO) list ./... | grep -vE '$(UNRACED)|/node_modules/')
	@$(GO) test -race -timeout 10m -run '^TestSameSeedGivesTheSameBytesOnOneShardAndOnTwo$$' ./internal/sim
	@echo "== go test"
	@$(GO) test -timeout 10m $$($(GO) list ./... | grep -E '$(UNRACED)')

# Counted runs rather than seconds: the same work on every machine, and a fuzzer that is stopped by the clock may call that a failure.
SEEDS ?= 80
FUZZ_RUNS ?= 4000
.PHONY: test-chaos
test-chaos: ## made-up worlds with named faults, every step audited; then each fuzz target for a moment
	@echo "== chaos: $(SEEDS) seeds"
	@$(GO) test -run 'TestChaos' -timeout 10h ./internal/engine -seeds $(SEEDS)
	@echo "== fuzz: $(FUZZ_RUNS) inputs for each target"
	@scripts/fuzz.sh $(FUZZ_RUNS)

.PHONY: soak
soak: ## the same for hours: thousands of new seeds, a long fuzz; then a tracker killed under 10,000; FROM=N for other seeds
	@$(GO) test -run 'TestChaos$$' -timeout 100h ./internal/engine -v -from $${FROM:-$$(date +%s)} -seeds 20000
	@$(MAKE) --no-print-directory test-chaos FUZZ_RUNS=5000000
	@$(GO) test -race -timeout 1h $(SLOW_RACED)
	@cd web && ESSAIM_SOAK=1 npx --no-install vitest run src/host/memory.test.ts
	@$(MAKE) --no-print-directory bin/essaim && cd web && export ESSAIM_SOAK=1 && e2e/netns.sh npx --no-install playwright test --workers 1 --grep @soak && e2e/netns.sh npx --no-install playwright test e2e/vanish.spec.ts --repeat-each 20
	@$(MAKE) --no-print-directory bin/essaim && bin/essaim bench tracker --kill --connections 10000 --json

.PHONY: test-web
test-web: web/dist/engine.wasm ## TypeScript: types, lint, unit tests, weight budget
	@echo "== web: check, lint, test"
	@cd web && { npm run --silent lint & lint=$$!; npm run --silent check; check=$$?; wait $$lint && exit $$check; }
	@cd web && npm run --silent test
	@node scripts/budget.mjs

.PHONY: test-browser
test-browser: bin/essaim ## browser tests in a real headless Chromium
	@echo "== browser tests"
	@cd web && e2e/netns.sh npx --no-install playwright test --project=pages
	@cd web && e2e/netns.sh npx --no-install playwright test --project=swarms

.PHONY: measure
measure: bin/essaim ## time to the first frame, with and without the engine
	@web/e2e/netns.sh node scripts/first-frame.mjs

.PHONY: measure-pages
measure-pages: bin/essaim ## Chromium's processor time per GB passed from page to page, beside a bare data channel
	@web/e2e/netns.sh node scripts/pages.mjs --json

SCENE ?= throttled
.PHONY: lab
lab: bin/essaim ## as root: viewers in a small internet of namespaces; SCENE=throttled, cut, cross, nat or household
	@$(GO) run ./lab/net --essaim bin/essaim --scene $(SCENE) --json

.PHONY: film
film: ## draw and package the demo film anew (needs ffmpeg)
	@$(GO) generate ./internal/demo/film

.PHONY: api
api: bin/essaim ## write the player's shapes anew from the API that the server declares
	@scripts/api.sh

.PHONY: fmt
fmt: web/node_modules/.ready ## format everything
	@$(GO) tool gofumpt -w cmd internal lab web/embed.go
	@cd web && npm run --silent format

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin web/dist/assets web/dist/*.html web/dist/*.br web/dist/engine.wasm web/node_modules/.ready
