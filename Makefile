# Every target says what it does; `make` alone lists them. The second run of each is quick.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export TESSERA_MODELS ?= $(CURDIR)/models
TESSERA = $(CARGO_TARGET_DIR)/release/tessera
GUESTS = $(patsubst components/%/Cargo.toml,-p %,$(wildcard components/*/Cargo.toml))

.PHONY: help build components guests models demo serve test lint fmt bench bench-llm peers test-openai test-oidc test-mcp test-plugins test-openapi test-wgpu check-gpu
	test-mcp test-plugins

help: ## Lists the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

build: ## Builds the tessera binary into the target folder (first time 10 to 25 minutes)
	cargo build --release --locked

components: ## Builds the bundled components (first time about a minute; installs the wasm32-wasip2 target)
	scripts/components.sh components/*

guests: ## Builds the components that only tests use
	scripts/components.sh tests/guests/* tests/hostile

models: build ## Pulls the models of the demo: embeddings and chat (180 MB, once)
	$(TESSERA) pull all-minilm-l6-v2 smollm2-135m-instruct

demo: ## From nothing to a served answer: builds all, pulls the model, asks for an embedding, keeps serving
	scripts/demo.sh

serve: build components models ## Serves the bundled components on 127.0.0.1:8080
	$(TESSERA) serve

test: ## Runs all tests, as CI does (about three minutes once built)
	scripts/test.sh

lint: ## Checks formatting and lints
	cargo fmt --all --check
	cargo clippy --release --locked --all-targets -- -D warnings
	cargo clippy --release --locked -p tessera-sdk $(GUESTS) -- -D warnings

fmt: ## Formats the code
	cargo fmt --all

bench: build guests components models ## Prints ratios against peers (`make peers` installs them; 6 GB)
	$(CARGO_TARGET_DIR)/release/bench
	$(CARGO_TARGET_DIR)/release/bench-decision

bench-llm: build ## Prints decode and prefill speed against llama.cpp (`make peers` builds it), and what many loads get of a device
	$(TESSERA) pull smollm2-135m-instruct qwen2.5-coder-0.5b-instruct
	$(CARGO_TARGET_DIR)/release/bench llm share

peers: ## Installs the peers of the benches in a Python environment of their own
	benches/peers/setup.sh

test-openai: ## Checks a running server with the openai Python package (needs `make peers`)
	$${XDG_CACHE_HOME:-$$HOME/.cache}/tessera/peers/bin/python tests/openai_client.py http://127.0.0.1:8080/v1 tests/golden/minilm all-minilm-l6-v2 smollm2-135m-instruct

test-oidc: build guests ## Checks callers with tokens of a real OpenID provider (needs node 20 and npm)
	scripts/oidc.sh

test-mcp: build guests ## Checks tools with the mcp Python package, which it installs
	scripts/mcp.sh

test-plugins: build ## Makes, builds and tests a plugin of every language and template (needs node 18 and python 3.11)
	scripts/plugins.sh

test-openapi: build guests ## Checks descriptions and typed functions with schemathesis (needs python 3.10)
	scripts/openapi.sh

test-wgpu: ## Runs goldens on Vulkan (software Vulkan will do; about ten minutes the first time)
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)-wgpu cargo test --locked -p engine --features wgpu --lib gpu_tests

check-gpu: ## Type-checks the CUDA and ROCm backends (7 minutes the first time; needs no GPU)
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)-gpu cargo check --locked --features cuda,rocm --bin tessera
