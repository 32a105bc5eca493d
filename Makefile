# Every target takes ARGS, e.g. `make run ARGS="--port 9000"`. The environment is .venv; extras are added as a target needs them.
PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock

.PHONY: run chat test bench bench-batching bench-calls bench-ears bench-engine bench-floor parity lint soak lock clean

run: $(if $(findstring minicpmo,$(ARGS)),.venv/model.done,.venv/run.done)
	$(BIN)/python -m realtime $(ARGS)

chat: .venv/model.done
	@$(BIN)/python -m model_server.chat $(ARGS)

test: .venv/dev.done
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

bench: .venv/dev.done
	$(BIN)/python -m tests.bench $(ARGS)

bench-batching: .venv/dev.done
	$(BIN)/python -m tests.bench.batching $(ARGS)

bench-calls: .venv/dev.done
	$(BIN)/python -m tests.bench.calls $(ARGS)

bench-ears: .venv/dev.done
	$(BIN)/python -m tests.bench.ears $(ARGS)

bench-engine: .venv/dev.done
	$(BIN)/python -m tests.bench.engine $(ARGS)

bench-floor: .venv/dev.done
	$(BIN)/python -m tests.bench.floor $(ARGS)

parity: .venv/model.done
	$(BIN)/python -m model_server.minicpmo.parity $(or $(ARGS),tests/vectors/minicpm-o-2.6-tiny --misses)

soak: .venv/dev.done
	$(BIN)/python -m tests.bench.soak $(ARGS)

lint: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

lock: .venv/dev.done
	$(BIN)/pip-compile --quiet --all-extras --strip-extras --no-emit-index-url --no-emit-find-links --no-annotate --no-header --output-file requirements.lock pyproject.toml $(ARGS)
	sed -i "s/+cpu//" requirements.lock

clean:
	rm -rf .venv

.venv/python.done:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": set PYTHON=python3.x")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/run.done: .venv/python.done pyproject.toml requirements.lock
	$(INSTALL) --editable '.[demo,vad]'
	@touch $@

.venv/model.done: .venv/run.done
	$(INSTALL) --editable '.[demo,vad,model]'
	@touch $@

.venv/dev.done: .venv/model.done
	$(INSTALL) --editable '.[demo,vad,model,dev]'
	@touch $@
