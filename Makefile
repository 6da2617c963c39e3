# make demo    the example Django project, built and served on http://127.0.0.1:8000/
# make test    everything that must hold: style, types, and every test (as root: all of them)
# make buildpeers     docker's and buildah's images of tests/buildpeers, compared and recorded anew
# make differential   docker's side of tests/differential, recorded anew (root, dockerd on PATH)
# make bench   onggi beside docker, podman and others (root; docs/bench.md): ROW=run QUICK=1 JSON=file
# make check   the quick part of it: style, types, unit tests, architecture

PORT ?= 8000
RUN := .venv/bin/python -m
SCRIPTS := tools/base_image tools/demo tools/dockerd tools/openapi tools/parity

.PHONY: demo test bench check differential buildpeers style clean

demo:
	tools/setup
	.venv/bin/python tools/demo --port $(PORT)

test: style
	$(RUN) pytest

check: style
	$(RUN) pytest tests/unit tests/architecture

bench:
	tools/setup
	.venv/bin/python -m bench $(if $(QUICK),--quick) $(if $(JSON),--json $(JSON)) $(ROW)

differential:
	tools/setup dev
	PYTHONPATH=tests tools/dockerd $(RUN) differential.record

buildpeers:
	tools/setup dev
	tools/setup packages buildah npm
	PYTHONPATH=tests tools/dockerd $(RUN) buildpeers.record
	PYTHONPATH=tests tools/dockerd $(RUN) buildpeers.odd

style:
	tools/setup dev
	$(RUN) ruff format --quiet --check . $(SCRIPTS)
	$(RUN) ruff check --quiet . $(SCRIPTS)
	$(RUN) mypy
	$(RUN) mypy --scripts-are-modules $(SCRIPTS)
	$(RUN) mypy -p bench

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -exec rm -rf {} +
