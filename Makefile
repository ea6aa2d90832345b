# Every target says what it does; `make` alone lists them. The second run of each is quick.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export TESSERA_MODELS ?= $(CURDIR)/models
# The running server that test-openai, test-answers and test-retrieval ask.
TESSERA_URL ?= http://127.0.0.1:8080
TESSERA = $(CARGO_TARGET_DIR)/release/tessera
GUESTS = $(patsubst components/%/Cargo.toml,-p %,$(wildcard components/*/Cargo.toml))

.PHONY: help build components guests models demo serve test lint fmt bench bench-llm peers test-openai test-opea test-answers \
	test-retrieval test-kill test-oidc test-mcp test-plugins test-openapi test-wgpu check-gpu

help: ## Lists the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

build: ## Builds the tessera binary into the target folder (first time 10 to 25 minutes)
	cargo build --release --locked

components: ## Builds the bundled components (first time about a minute; installs the wasm32-wasip2 target)
	scripts/components.sh components/*

guests: ## Builds the components that only tests use
	scripts/components.sh tests/guests/* tests/hostile

models: build ## Pulls the models of the bundled policies: embeddings, personal data, chat (680 MB, once)
	$(TESSERA) pull all-minilm-l6-v2 rampart-pii smollm2-135m-instruct qwen2.5-coder-0.5b-instruct

demo: ## From nothing to an answer from documents: builds all, pulls the models (580 MB), ingests, asks, keeps serving
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
	$${XDG_CACHE_HOME:-$$HOME/.cache}/tessera/peers/bin/python tests/openai_client.py $(TESSERA_URL)/v1 tests/golden/minilm all-minilm-l6-v2 smollm2-135m-instruct

test-opea: build components models ## Sends OPEA's own calls to a server of its own and says which it answers as OPEA does (needs `make peers`)
	scripts/opea.sh

test-answers: ## Asks a running server 30 questions about the demo's documents: what it answers, cites and declines
	scripts/chatqna_eval.py $(TESSERA_URL)

test-retrieval: ## Ingests 1,000 Wikipedia articles into a running server and looks how well it finds them again
	python3 benches/peers/wikipedia.py && scripts/retrieval_eval.py $(TESSERA_URL)

test-kill: build components models ## Kills a server 30 times while it ingests, and looks for what it acknowledged
	scripts/kill_rounds.py $(TESSERA)

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
